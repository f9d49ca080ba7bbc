//! The parts of help texts and manual pages that are not options: examples, exit status, files,
//! environment. Written once; `--help` shows them and `ring3 man` prints them.

use clap::Command;
use clap::builder::StyledStr;
use clap_mangen::roff::{Roff, bold, roman};
use std::fmt::Write as _;

/// A part of a page.
pub struct Section {
    title: &'static str,
    content: Content,
}

enum Content {
    /// Paragraphs.
    Text(&'static str),
    /// Terms and what they mean.
    Terms(&'static [(&'static str, &'static str)]),
    /// Command lines and what they do.
    Examples(&'static [(&'static str, &'static str)]),
}

use Content::{Examples, Terms, Text};

const RING3: &[Section] = &[
    Section {
        title: "Examples",
        content: Examples(&[
            ("ring3 run ./program", "Run a program in the default guest."),
            (
                "ring3 run uipi_sample.c",
                "Compile a C file and run it, user interrupts and all.",
            ),
            (
                "ring3 boot --kernel vmlinuz --initrd initrd.img",
                "Boot a kernel with its console on this terminal.",
            ),
        ]),
    },
    Section {
        title: "Exit status",
        content: Terms(&[
            (
                "0 to 255",
                "ring3 run: the program's own exit status. ring3 boot: what the guest wrote to its debug-exit port.",
            ),
            (
                "0",
                "Other commands, when they did what they were asked to.",
            ),
            ("70", "A mistake in ring3 itself; it says how to report it."),
            (
                "123",
                "The guest is stuck: every processor waits, and nothing is left that could wake one.",
            ),
            ("124", "The limit set with --max-instructions was reached."),
            (
                "125",
                "ring3 failed: wrong usage, no guest, a guest that crashed.",
            ),
            ("126", "The program was found but cannot be executed."),
            ("127", "There is no such program."),
            (
                "128+N",
                "Signal N killed the program, or ended ring3 (130: Ctrl-C).",
            ),
        ]),
    },
    FILES,
    ENVIRONMENT,
];

const FILES: Section = Section {
    title: "Files",
    content: Terms(&[
        (
            "$XDG_CACHE_HOME/ring3/guests/",
            "Guests, and snapshots of machines that have booted them. Safe to delete: they are made again when they are needed.",
        ),
        (
            "$XDG_CACHE_HOME/ring3/packages/",
            "Kernel packages of the distribution, unpacked.",
        ),
        (
            "$XDG_CACHE_HOME/ring3/programs/",
            "Programs that were compiled from C files.",
        ),
    ]),
};

const ENVIRONMENT: Section = Section {
    title: "Environment",
    content: Terms(&[
        (
            "XDG_CACHE_HOME",
            "Where the cache is; without it, $HOME/.cache.",
        ),
        (
            "CC",
            "The C compiler for C files, with options if needed (default: gcc).",
        ),
        (
            "PATH",
            "Where a program given without a slash is looked for.",
        ),
        (
            "TERM",
            "Handed to a program that has the terminal; with TERM=dumb there is no status line.",
        ),
        ("NO_COLOR", "If set and not empty, help texts are plain."),
    ]),
};

const RUN: &[Section] = &[
    Section {
        title: "Streams and signals",
        content: Text(
            "Standard input, output and error are the program's own; ring3 adds nothing to them unless \
             it fails or is asked to. Input from a regular file is handed to the guest with the \
             program, so that the same command gives the same run, bit for bit; from a pipe or terminal \
             it arrives when it arrives.\n\
             If standard input and output are a terminal, the program has a terminal too and keys go to it \
             as they are typed. Ctrl-C sends SIGINT to the program. A second Ctrl-C within a second stops \
             the machine if the program has not reacted, a third one in any case; then the exit status \
             is 130. SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 that are sent to ring3 are \
             passed on to the program. A second one of the first four stops the machine as a second Ctrl-C does.\n\
             A program that waits makes no one wait: virtual time skips to the next event, so sleep 60 \
             returns at once. Only while the program has the terminal does waiting take as long as it \
             would elsewhere.",
        ),
    },
    Section {
        title: "Examples",
        content: Examples(&[
            (
                "ring3 run ./server --port 80",
                "Options behind the program's name are the program's.",
            ),
            (
                "ring3 run -- -odd-name",
                "A program whose name begins with a dash.",
            ),
            (
                "ring3 run --cpus 8 --mem 2G ./bench > result.txt",
                "A larger machine, with the output in a file.",
            ),
            (
                "ring3 run --cflags '-O1 -g -muintr -pthread' sample.c",
                "A C file with flags of your own instead of the default ones.",
            ),
            (
                "ring3 run --copy data.bin --copy conf:/etc/conf ./tool data.bin",
                "Take files along, in place and elsewhere.",
            ),
            (
                "ring3 run --stats --max-instructions 500M ./program",
                "Give up after so many instructions, and show what was counted.",
            ),
        ]),
    },
    Section {
        title: "Exit status",
        content: Terms(&[
            ("0 to 255", "The program's own exit status."),
            ("70", "A mistake in ring3 itself; it says how to report it."),
            (
                "123",
                "The program waits for something that can never come: no processor has anything to do, no timer runs and no input is left.",
            ),
            ("124", "The limit set with --max-instructions was reached."),
            (
                "125",
                "ring3 failed: wrong usage, the guest cannot be made, the guest's kernel crashed.",
            ),
            (
                "126",
                "The program was found but cannot be executed: no permission, made for another processor, a library is missing, a C file that does not compile.",
            ),
            ("127", "There is no such program."),
            (
                "128+N",
                "Signal N killed the program (139: segmentation fault).",
            ),
            ("130", "Ctrl-C stopped the machine or killed the program."),
        ]),
    },
    FILES,
    ENVIRONMENT,
];

const BOOT: &[Section] = &[
    Section {
        title: "Keys",
        content: Terms(&[
            ("Ctrl-A X", "Leave: stop the machine. Exit status 0."),
            ("Ctrl-A H", "Show these keys."),
            (
                "Ctrl-A I",
                "Show how far the machine is and where its processors are.",
            ),
            ("Ctrl-A Ctrl-A", "Send Ctrl-A to the guest."),
        ]),
    },
    Section {
        title: "Examples",
        content: Examples(&[
            (
                "ring3 boot",
                "The kernel of the default guest, with a shell on its console.",
            ),
            (
                "ring3 boot --kernel vmlinuz --initrd initrd.img --append 'console=ttyS0 debug'",
                "A kernel of your own.",
            ),
            (
                "ring3 boot --kernel vmlinuz --entry pvh --max-instructions 2G < /dev/null",
                "As a test: through another entry, with an end.",
            ),
            (
                "ring3 boot --kernel kernel.elf",
                "A Multiboot 1 image for experiments without an operating system.",
            ),
        ]),
    },
    Section {
        title: "Exit status",
        content: Terms(&[
            (
                "0",
                "The guest switched itself off or asked for a restart, or you left with Ctrl-A X.",
            ),
            (
                "0 to 255",
                "The guest wrote this to its debug-exit port (0xf4). It is the value itself, modulo 256, so that 0 can be a success; QEMU would make it 2V+1.",
            ),
            ("70", "A mistake in ring3 itself; it says how to report it."),
            (
                "123",
                "Every processor has halted and nothing can wake one: the usual end of a kernel without power management.",
            ),
            ("124", "The limit set with --max-instructions was reached."),
            (
                "125",
                "ring3 failed: wrong usage, a file that is no kernel, a damaged initrd, a triple fault, a kernel panic.",
            ),
            ("128+N", "Signal N ended ring3."),
        ]),
    },
    FILES,
    Section {
        title: "Environment",
        content: Terms(&[
            (
                "XDG_CACHE_HOME",
                "Where the default guest is; without it, $HOME/.cache.",
            ),
            ("TERM", "With TERM=dumb there is no status line."),
        ]),
    },
];

const GUEST: &[Section] = &[
    Section {
        title: "Examples",
        content: Examples(&[
            (
                "ring3 guest build",
                "Make the default guest now instead of at the first run.",
            ),
            (
                "ring3 guest build --name mine --kernel linux-image.deb",
                "A guest with another kernel; use it with ring3 run --guest mine.",
            ),
            (
                "ring3 guest list",
                "What there is, and how much room it takes.",
            ),
            (
                "ring3 guest clean --all",
                "Remove everything from the cache.",
            ),
        ]),
    },
    EXIT_STATUS_PLAIN,
    FILES,
    Section {
        title: "Environment",
        content: Terms(&[(
            "XDG_CACHE_HOME",
            "Where the cache is; without it, $HOME/.cache.",
        )]),
    },
];

const EXIT_STATUS_PLAIN: Section = Section {
    title: "Exit status",
    content: Terms(&[
        ("0", "Done."),
        ("70", "A mistake in ring3 itself; it says how to report it."),
        ("125", "Not done; standard error says why."),
    ]),
};

const COMPLETIONS: &[Section] = &[
    Section {
        title: "Examples",
        content: Examples(&[
            (
                "ring3 completions bash > ~/.local/share/bash-completion/completions/ring3",
                "Bash.",
            ),
            (
                "ring3 completions zsh > ~/.zfunc/_ring3",
                "Zsh, with ~/.zfunc in fpath.",
            ),
            (
                "ring3 completions fish > ~/.config/fish/completions/ring3.fish",
                "Fish.",
            ),
        ]),
    },
    EXIT_STATUS_PLAIN,
];

const MAN: &[Section] = &[
    Section {
        title: "Examples",
        content: Examples(&[
            ("ring3 man run | man -l -", "Read the page of one command."),
            (
                "ring3 man --dir ~/.local/share/man/man1",
                "Install all pages for yourself.",
            ),
        ]),
    },
    EXIT_STATUS_PLAIN,
];

const PLAIN: &[Section] = &[EXIT_STATUS_PLAIN];

/// The sections of the page of a command: the words behind `ring3`.
fn sections(path: &[&str]) -> &'static [Section] {
    match path {
        [] => RING3,
        ["run"] => RUN,
        ["boot"] => BOOT,
        ["guest"] => GUEST,
        ["completions"] => COMPLETIONS,
        ["man"] => MAN,
        _ => PLAIN,
    }
}

/// Adds the sections to the help texts of a command and of all below it.
pub fn add_to_help(command: Command) -> Command {
    add_below(command, &[])
}

fn add_below(mut command: Command, path: &[&str]) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    for name in names {
        let below = [path, &[name.as_str()]].concat();
        command = command.mut_subcommand(&name, |command| add_below(command, &below));
    }
    let styled = help(&command, sections(path));
    command.after_long_help(styled)
}

fn help(command: &Command, sections: &[Section]) -> StyledStr {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut out = StyledStr::new();
    let mut write = |text: std::fmt::Arguments<'_>| {
        out.write_fmt(text).expect("a string takes everything");
    };
    for (index, section) in sections.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n\n" };
        write(format_args!("{gap}{header}{}:{header:#}", section.title));
        match section.content {
            Text(text) => {
                for (index, paragraph) in text.lines().enumerate() {
                    let gap = if index == 0 { "" } else { "\n" };
                    write(format_args!("{gap}\n  {paragraph}"));
                }
            }
            Terms(terms) => {
                for (term, meaning) in terms {
                    write(format_args!(
                        "\n  {literal}{term}{literal:#}\n          {meaning}"
                    ));
                }
            }
            Examples(examples) => {
                for (line, meaning) in examples {
                    write(format_args!(
                        "\n  {meaning}\n      {literal}{line}{literal:#}"
                    ));
                }
            }
        }
    }
    out
}

/// A manual page in roff: the command's own texts and options, then the sections.
///
/// # Errors
/// If `out` cannot be written to.
pub fn manual(
    command: &Command,
    path: &[&str],
    out: &mut impl std::io::Write,
) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone())
        .title(command_page(path).to_uppercase())
        .source(format!("ring3 {}", crate::VERSION))
        .manual("Ring3 Manual");
    page.render_title(out)?;
    page.render_name_section(out)?;
    let usage = command.clone().render_usage().to_string();
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([bold(usage.trim_start_matches("Usage: "))]);
    synopsis.to_writer(out)?;
    page.render_description_section(out)?;
    if command.get_opts().next().is_some() || command.get_positionals().next().is_some() {
        page.render_options_section(out)?;
    }
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    for section in sections(path) {
        roff.control("SH", [section.title.to_uppercase().as_str()]);
        match section.content {
            Text(text) => {
                for paragraph in text.lines() {
                    roff.control("PP", []);
                    roff.text([roman(paragraph)]);
                }
            }
            Terms(terms) => {
                for (term, meaning) in terms {
                    roff.control("TP", []);
                    roff.text([bold(*term)]);
                    roff.text([roman(*meaning)]);
                }
            }
            Examples(examples) => {
                for (line, meaning) in examples {
                    roff.control("PP", []);
                    roff.text([roman(*meaning)]);
                    roff.control("PP", []);
                    roff.control("RS", []);
                    roff.text([bold(*line)]);
                    roff.control("RE", []);
                }
            }
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    let others: Vec<String> = [[].as_slice(), &["run"], &["boot"], &["guest"]]
        .into_iter()
        .filter(|other| *other != path)
        .map(|other| format!("{}(1)", command_page(other)))
        .collect();
    roff.text([roman(others.join(", "))]);
    roff.to_writer(out)
}

/// The name of a command's manual page: `ring3-guest-build`.
pub fn command_page(path: &[&str]) -> String {
    [&["ring3"], path].concat().join("-")
}
