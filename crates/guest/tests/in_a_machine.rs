//! Programs in the default guest, for real: every test restores a booted machine and runs a job in it.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use machine::{Run, Snapshot};
use ring3_guest::protocol::Terminal;
use ring3_guest::*;

/// A module that loads anywhere, in the place of the project's, which wants user interrupts.
const STAND_IN: &str = "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n\
    static int __init start(void) { return 0; }\nmodule_init(start);\n";

struct Bench {
    guest: Guest,
    snapshot: Snapshot,
    warnings: Vec<String>,
    console: String,
    programs: PathBuf,
}

fn module(text: &str) -> UintrModule {
    UintrModule::Sources(vec![
        ("Kbuild".into(), b"obj-m := ring3_uintr.o\n".to_vec()),
        ("ring3_uintr.c".into(), text.into()),
    ])
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-cache")
}

fn prepare(uintr: UintrModule) -> Result<Guest, Error> {
    GuestBuilder::new()
        .cache(cache())
        .uintr(uintr)
        .prepare(&mut |line| eprintln!("{line}"))
}

/// The guest, booted once for all tests; `None` where it cannot be had.
fn bench() -> Option<&'static Bench> {
    static BENCH: OnceLock<Option<Bench>> = OnceLock::new();
    let bench = BENCH
        .get_or_init(|| {
            if !machine::is_there() {
                eprintln!("no qemu-system-x86_64 on this host");
                return None;
            }
            let guest = match prepare(module(STAND_IN)) {
                Ok(guest) => guest,
                Err(error)
                    if matches!(
                        error.problem(),
                        Problem::KernelNotFound | Problem::HeadersNotFound | Problem::ToolMissing
                    ) =>
                {
                    eprintln!("no kernel to be had: {error}");
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            let (snapshot, warnings, console) = Snapshot::take(&guest, 256, 1);
            let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
            fs::create_dir_all(&programs).unwrap();
            Some(Bench {
                guest,
                snapshot,
                warnings,
                console,
                programs,
            })
        })
        .as_ref();
    if bench.is_none() {
        eprintln!("skipped");
    }
    bench
}

impl Bench {
    fn job(&self, builder: JobBuilder) -> Job {
        builder
            .cache(cache())
            .prepare(&self.guest.contents(), &mut |line| eprintln!("{line}"))
            .unwrap()
    }

    fn run(&self, builder: JobBuilder) -> Run {
        self.snapshot
            .run(&self.guest, &self.job(builder), |_, _| false)
    }

    /// A shell with some of the host's tools.
    fn shell_with(&self, script: &str, tools: &[&str]) -> JobBuilder {
        let copies = tools.iter().map(|tool| Copy {
            host: Path::new("/usr/bin").join(tool),
            guest: None,
        });
        JobBuilder::new("/bin/sh")
            .arguments(["-c", script])
            .copies(copies)
    }

    fn c(&self, name: &str, text: &str) -> PathBuf {
        let path = self.programs.join(format!("{name}.c"));
        fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn boots_without_a_word() {
    let Some(bench) = bench() else { return };
    assert_eq!(bench.warnings, Vec::<String>::new());
    // The stand-in is not signed, which the kernel says; nothing else may be said.
    let said: Vec<&str> = bench
        .console
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let expected = |line: &&str| {
        line.contains("loading out-of-tree module") || line.contains("module verification failed")
    };
    assert!(said.iter().all(expected), "{said:?}");
}

#[test]
fn static_and_dynamic_programs() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "hello",
        "#include <stdio.h>\nint main(void) { printf(\"hello\\n\"); return 42; }",
    );
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!((run.text().as_str(), run.status()), ("hello\n", 42));
    let flags = ["-O2", "-static"].map(str::to_owned).to_vec();
    let run = bench.run(JobBuilder::new(&source).c_flags(flags));
    assert_eq!(
        (run.text().as_str(), run.errors().as_str(), run.status()),
        ("hello\n", "", 42)
    );
}

#[test]
fn a_host_tool_on_copied_files() {
    let Some(bench) = bench() else { return };
    let folder = bench.programs.join("copied");
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("deep/file one"), b"contents\n").unwrap();
    let copy = |guest: Option<&str>| Copy {
        host: folder.clone(),
        guest: guest.map(PathBuf::from),
    };
    let run = bench.run(
        JobBuilder::new("ls")
            .arguments(["-1R", "/srv/there"])
            .copies([copy(Some("/srv/there"))]),
    );
    assert_eq!(
        run.text(),
        "/srv/there:\ndeep\n\n/srv/there/deep:\nfile one\n"
    );
    let path = folder.join("deep/file one");
    let run = bench.run(
        JobBuilder::new("/bin/cat")
            .arguments([&path])
            .copies([copy(None)]),
    );
    assert_eq!((run.text().as_str(), run.status()), ("contents\n", 0));
    let run = bench.run(JobBuilder::new("/bin/cat").arguments([&path]));
    assert_eq!(run.status(), 1);
    assert!(run.errors().contains("No such file"), "{run:?}");
}

#[test]
fn ends_of_programs() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "ends",
        "#include <signal.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
         int main(int n, char **v) { if (!strcmp(v[1], \"exit\")) _exit(atoi(v[2]));\n\
         kill(getpid(), atoi(v[2])); for (;;) pause(); }",
    );
    for (how, number, status) in [
        ("exit", 0, 0),
        ("exit", 255, 255),
        ("kill", 9, 137),
        ("kill", 11, 139),
        ("kill", 13, 141),
        ("kill", 34, 162),
    ] {
        let run = bench.run(JobBuilder::new(&source).arguments([how, &number.to_string()]));
        assert_eq!(run.status(), status, "{how} {number}: {run:?}");
    }
}

#[test]
fn arguments_environment_folder() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "about",
        "#include <stdio.h>\n#include <unistd.h>\nextern char **environ;\nint main(int n, char **v) {\n\
         char folder[4096]; for (int i = 0; i < n; i++) printf(\"[%s]\\n\", v[i]);\n\
         for (char **e = environ; *e; e++) printf(\"%s\\n\", *e); puts(getcwd(folder, sizeof folder));\n\
         printf(\"%p\\n\", (void *)main); return getuid(); }",
    );
    let run = bench.run(
        JobBuilder::new("about.c")
            .folder(source.parent().unwrap())
            .arguments(["", "a b", "\u{e9}"])
            .environment("EMPTY", "")
            .environment("LANG", "C"),
    );
    let folder = source.parent().unwrap().display();
    let text = run.text();
    assert!(
        text.starts_with(
            "[./about]\n[]\n[a b]\n[\u{e9}]\nEMPTY=\nHOME=/root\nLANG=C\nLOGNAME=root\n"
        ),
        "{text}"
    );
    assert!(text.contains(&format!("\n{folder}\n0x5555555")), "{text}");
    assert_eq!(run.status(), 0);
    let run = bench.run(JobBuilder::new(&source).randomize_addresses(true));
    assert!(!run.text().contains("\n0x5555555"), "{}", run.text());
}

#[test]
fn standard_input_as_stream_and_as_file() {
    let Some(bench) = bench() else { return };
    let megabyte: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    // As a stream, given in pieces while it runs.
    let job = bench.job(JobBuilder::new("/bin/cat").input(Input::Stream));
    let mut given = 0;
    let run = bench.snapshot.run(&bench.guest, &job, |session, _| {
        while given < megabyte.len() && session.outgoing(Port::Stdin).len() < 8192 {
            let piece = &megabyte[given..(given + 5000).min(megabyte.len())];
            session.give_stdin(piece);
            given += piece.len();
        }
        if given == megabyte.len() {
            session.end_stdin();
        }
        false
    });
    assert_eq!(run.status(), 0);
    assert!(
        run.stdout == megabyte,
        "{} of {} bytes came back",
        run.stdout.len(),
        megabyte.len()
    );
    // As a file, in which a program may seek.
    let job = JobBuilder::new("/usr/bin/tail").arguments(["-c", "100000"]);
    let run = bench.run(job.input(Input::Bytes(megabyte.clone())));
    assert!(run.stdout == megabyte[megabyte.len() - 100_000..]);
    // None, and one that nobody reads.
    assert_eq!(bench.run(JobBuilder::new("/bin/cat")).text(), "");
    let job = bench.job(JobBuilder::new("/bin/true").input(Input::Stream));
    let run = bench.snapshot.run(&bench.guest, &job, |session, _| {
        if session.outgoing(Port::Stdin).len() < 8192 {
            session.give_stdin(&megabyte[..4096]);
        }
        false
    });
    assert_eq!(run.status(), 0);
}

#[test]
fn input_that_ends_before_the_program_reads() {
    let Some(bench) = bench() else { return };
    let job = bench.job(
        bench
            .shell_with("sleep 0.2; cat; echo end", &["cat", "sleep"])
            .input(Input::Stream),
    );
    let mut given = false;
    let run = bench.snapshot.run(&bench.guest, &job, |session, _| {
        if !given {
            session.give_stdin(b"one\n");
            session.end_stdin();
            given = true;
        }
        false
    });
    assert_eq!((run.text().as_str(), run.status()), ("one\nend\n", 0));
}

const TALK: &str = "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\nint main(void) {\n\
    static char block[3 << 20]; memset(block, 'x', sizeof block);\n\
    for (int i = 0; i < 2000; i++) { char line[32]; int n = sprintf(line, \"%d\\n\", i);\n\
    write(1 + i % 2, line, n); }\n\
    fwrite(block, 1, sizeof block, stdout); fprintf(stderr, \"end\\n\"); return 0; }";

/// What [`TALK`] writes to one of its streams before the block.
fn lines(remainder: usize) -> String {
    (0..2000)
        .filter(|i| i % 2 == remainder)
        .map(|i| format!("{i}\n"))
        .collect()
}

#[test]
fn both_streams_whole_and_unmixed() {
    let Some(bench) = bench() else { return };
    let source = bench.c("talk", TALK);
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!(run.errors(), lines(1) + "end\n");
    assert_eq!(run.text(), lines(0) + &"x".repeat(3 << 20));
    // The same through pipes, which a shell's children get.
    let program = bench.job(JobBuilder::new(&source)).executable().to_owned();
    let job = JobBuilder::new("/bin/sh").arguments([Path::new("-c"), &program]);
    let run = bench.run(job.copies([Copy {
        host: program,
        guest: None,
    }]));
    assert_eq!(run.errors(), lines(1) + "end\n");
    assert_eq!(run.text(), lines(0) + &"x".repeat(3 << 20));
}

#[test]
fn one_stream_for_both_keeps_their_order() {
    let Some(bench) = bench() else { return };
    let source = bench.c("talk2", &TALK.replace("3 << 20", "3"));
    let expected: String = (0..2000).map(|i| format!("{i}\n")).collect();
    let same = (OutputKind::Stream, OutputKind::SameAsStdout);
    let run = bench.run(JobBuilder::new(&source).outputs(same.0, same.1));
    // The block is in a buffer of the C library until the program exits.
    assert_eq!(
        (run.text(), run.errors()),
        (expected + "end\nxxx", String::new())
    );
    let shell = JobBuilder::new("/bin/sh")
        .arguments(["-c", "echo 1; echo 2 >&2; echo 3; echo 4 >/dev/stderr"]);
    assert_eq!(
        bench.run(shell.outputs(same.0, same.1)).text(),
        "1\n2\n3\n4\n"
    );
    let run = bench.run(JobBuilder::new(&source).outputs(OutputKind::Null, OutputKind::Stream));
    assert_eq!(
        (run.text(), run.errors()),
        (String::new(), lines(1) + "end\n")
    );
}

#[test]
fn streams_by_the_names_of_their_devices() {
    let Some(bench) = bench() else { return };
    let run = bench.run(bench.shell_with(
        "echo out >/dev/stdout; echo err >/dev/stderr; { echo in >/dev/stdout; } | tr a-z A-Z",
        &["tr"],
    ));
    assert_eq!(
        (run.text().as_str(), run.errors().as_str()),
        ("out\nIN\n", "err\n")
    );
    // Where the port itself is the descriptor.
    let source = bench.c(
        "reopen",
        "#include <stdio.h>\nint main(void) { FILE *o = fopen(\"/dev/stdout\", \"w\"), *e = fopen(\"/dev/stderr\", \"w\");\n\
         fputs(\"out\\n\", o); fputs(\"err\\n\", e); return 0; }",
    );
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!(
        (run.text().as_str(), run.errors().as_str(), run.status()),
        ("out\n", "err\n", 0)
    );
    let run = bench.run(
        JobBuilder::new("/usr/bin/wc")
            .arguments(["-c", "/dev/stdin"])
            .input(Input::Bytes(b"12345".to_vec())),
    );
    assert_eq!(run.text(), "5 /dev/stdin\n");
}

#[test]
fn scripts_and_their_interpreters() {
    let Some(bench) = bench() else { return };
    use std::os::unix::fs::PermissionsExt;
    let script = bench.programs.join("script");
    fs::write(
        &script,
        "#!/usr/bin/env -S sh -e\necho \"$0 $1\"; false; echo unreached\n",
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let run = bench.run(JobBuilder::new(&script).arguments(["x"]));
    assert_eq!(
        (run.text(), run.status()),
        (format!("{} x\n", script.display()), 1)
    );
    if Path::new("/usr/lib/python3.11").is_dir() {
        let library = Copy {
            host: "/usr/lib/python3.11".into(),
            guest: None,
        };
        let job = JobBuilder::new("/usr/bin/python3.11")
            .arguments(["-c", "import ctypes, ssl; print(2**200)"])
            .copies([library]);
        let run = bench.run(job);
        assert_eq!(
            run.text(),
            "1606938044258990275541962092341162602522202993782792835301376\n",
            "{}",
            run.errors()
        );
    }
}

#[test]
fn signals_from_the_host() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "signalled",
        "#include <signal.h>\n#include <unistd.h>\n\
         static void caught(int n) { write(1, \"caught\\n\", 7); _exit(n + 1); }\n\
         int main(int n, char **v) { if (n > 1) signal(SIGINT, caught); write(1, \"up\\n\", 3); for (;;) pause(); }",
    );
    let try_signal = |arguments: &[&str], number: u8, group: bool| {
        let job = bench.job(JobBuilder::new(&source).arguments(arguments.iter().copied()));
        let mut sent = false;
        bench.snapshot.run(&bench.guest, &job, |session, run| {
            if !sent && run.text() == "up\n" {
                session.signal(number, group);
                sent = true;
            }
            false
        })
    };
    let run = try_signal(&["catch"], 2, true);
    assert_eq!((run.text().as_str(), run.status()), ("up\ncaught\n", 3));
    assert_eq!(try_signal(&[], 2, true).status(), 130);
    assert_eq!(try_signal(&["catch"], 15, false).status(), 143);
}

#[test]
fn a_terminal_for_the_program() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "terminal",
        "#include <stdio.h>\n#include <sys/ioctl.h>\n#include <unistd.h>\nint main(void) { struct winsize w; char line[80];\n\
         int r = ioctl(1, TIOCGWINSZ, &w); printf(\"%d%d%d %d %dx%d\\n\", isatty(0), isatty(1), isatty(2), r, w.ws_row, w.ws_col);\n\
         while (fgets(line, sizeof line, stdin)) printf(\"<%s>\", line); puts(\"end\"); return 5; }",
    );
    let try_keys = |host_is_raw: bool, stderr: OutputKind, keys: &[u8], end: bool| {
        let builder = JobBuilder::new(&source)
            .input(Input::Terminal)
            .outputs(OutputKind::Terminal, stderr)
            .terminal(Terminal {
                rows: 30,
                columns: 90,
                host_is_raw,
            });
        let job = bench.job(builder);
        let mut given = false;
        bench.snapshot.run(&bench.guest, &job, |session, run| {
            if !given && (run.text().contains("30x90\r\n") || run.text().contains("30x90\n")) {
                session.give_stdin(keys);
                if end {
                    session.end_stdin();
                }
                given = true;
            }
            false
        })
    };
    // A raw host terminal: the guest's echoes, edits, translates line ends, ends input at Ctrl-D.
    let run = try_keys(true, OutputKind::Terminal, b"ab\x7fc\r\x04", false);
    assert_eq!(run.text(), "111 0 30x90\r\nab\x08 \x08c\r\n<ac\r\n>end\r\n");
    assert_eq!((run.errors().as_str(), run.status()), ("", 5));
    // Ctrl-C there is a signal.
    assert_eq!(
        try_keys(true, OutputKind::Terminal, b"\x03", false).status(),
        130
    );
    // A host terminal that does all this itself; standard error elsewhere.
    let run = try_keys(false, OutputKind::Stream, b"line\nlast", true);
    assert_eq!(
        (run.text().as_str(), run.status()),
        ("110 0 30x90\n<line\n><last>end\n", 5)
    );
}

#[test]
fn a_terminal_that_changes_its_size() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "resized",
        "#include <signal.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n#include <unistd.h>\nint main(void) { struct winsize w;\n\
         sigset_t s; int n; sigemptyset(&s); sigaddset(&s, SIGWINCH); sigprocmask(SIG_BLOCK, &s, 0); puts(\"up\");\n\
         sigwait(&s, &n); ioctl(1, TIOCGWINSZ, &w); printf(\"%dx%d\\n\", w.ws_row, w.ws_col); return 0; }",
    );
    let terminal = Terminal {
        rows: 1,
        columns: 1,
        host_is_raw: true,
    };
    let builder = JobBuilder::new(&source)
        .outputs(OutputKind::Stream, OutputKind::Terminal)
        .input(Input::Terminal);
    // Standard error alone is the terminal that shows something; standard output goes elsewhere.
    let error = builder.clone().prepare(&Default::default(), &mut |_| {});
    assert_eq!(error.unwrap_err().problem(), Problem::Usage);
    let builder = builder.outputs(OutputKind::Terminal, OutputKind::Terminal);
    let job = bench.job(builder.terminal(terminal));
    let mut resized = false;
    let run = bench.snapshot.run(&bench.guest, &job, |session, run| {
        if !resized && run.text() == "up\r\n" {
            session.resize(51, 120);
            resized = true;
        }
        false
    });
    assert_eq!((run.text().as_str(), run.status()), ("up\r\n51x120\r\n", 0));
}

#[test]
fn programs_the_guest_cannot_start() {
    let Some(bench) = bench() else { return };
    let source = bench.c("odd", "int main(void) { return 0; }");
    // The linker it asks for exists, and is none.
    let flags = ["-Wl,--dynamic-linker=/etc/passwd"]
        .map(str::to_owned)
        .to_vec();
    let run = bench.run(JobBuilder::new(&source).c_flags(flags));
    let outcome = run.outcome.as_ref().unwrap();
    assert!(
        matches!(
            outcome,
            Outcome::NotStarted {
                stage: protocol::Stage::Execute,
                errno: 1..,
                ..
            }
        ),
        "{run:?}"
    );
    assert_eq!(run.status(), 126);
    // Files that do not fit.
    let large = bench.programs.join("large");
    fs::write(&large, vec![7; 300 << 20]).unwrap();
    let run = bench.run(JobBuilder::new("/bin/true").copies([Copy {
        host: large.clone(),
        guest: None,
    }]));
    fs::remove_file(large).unwrap();
    let outcome = run.outcome.as_ref().unwrap();
    assert!(
        matches!(
            outcome,
            Outcome::NotStarted {
                stage: protocol::Stage::Unpack,
                errno: 28,
                ..
            }
        ),
        "{run:?}"
    );
    assert!(outcome.message().unwrap().contains("--mem"));
}

#[test]
fn a_program_that_wants_all_memory() {
    let Some(bench) = bench() else { return };
    let source = bench.c(
        "greedy",
        "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }",
    );
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!(run.status(), 137);
    let outcome = run.outcome.unwrap();
    assert!(
        matches!(
            outcome,
            Outcome::Ran {
                out_of_memory: true,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(outcome.message().unwrap().contains("--mem"));
}

#[test]
fn threads_sockets_and_children() {
    let Some(bench) = bench() else { return };
    // pthread_exit has the C library load libgcc_s.
    let source = bench.c(
        "threads",
        "#include <pthread.h>\n#include <stdio.h>\nstatic void *run(void *p) { pthread_exit((void *)7); }\n\
         int main(void) { pthread_t t; void *r; pthread_create(&t, 0, run, 0); pthread_join(t, &r); return (long)r; }",
    );
    assert_eq!(bench.run(JobBuilder::new(&source)).status(), 7);
    let source = bench.c(
        "loopback",
        "#include <arpa/inet.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void) {\n\
         struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(99), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };\n\
         int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);\n\
         if (bind(l, (void *)&a, sizeof a) || listen(l, 1) || connect(c, (void *)&a, sizeof a)) { perror(\"net\"); return 1; }\n\
         return write(c, \"x\", 1) != 1; }",
    );
    let run = bench.run(JobBuilder::new(&source));
    assert_eq!(run.status(), 0, "{run:?}");
    // A program does not wait for what it leaves behind, and orphans are buried.
    let source = bench.c(
        "orphans",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\nint main(void) {\n\
         for (int i = 0; i < 20; i++) if (!fork()) { if (!fork()) _exit(0); _exit(0); }\n\
         if (!fork()) { sleep(1000); _exit(0); } sleep(1);\n\
         return system(\"cat /proc/[0-9]*/stat | grep -c ' Z 1 '; exit 9\") >> 8; }",
    );
    let copies = ["/bin/cat", "/bin/grep"].map(|tool| Copy {
        host: tool.into(),
        guest: None,
    });
    let run = bench.run(JobBuilder::new(&source).copies(copies));
    assert_eq!(
        (run.text().as_str(), run.errors().as_str(), run.status()),
        ("0\n", "", 9)
    );
}

#[test]
fn the_module_is_loaded_where_it_can_be() {
    let Some(bench) = bench() else { return };
    let run = bench.run(bench.shell_with("cat /proc/modules", &["cat"]));
    let loaded: Vec<String> = run
        .text()
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert!(loaded.contains(&"ring3_uintr".into()), "{loaded:?}");
    // A module that refuses the machine is a warning, and the guest is of use.
    let guest = prepare(module(&STAND_IN.replace("return 0", "return -ENODEV"))).unwrap();
    assert_ne!(guest.identity(), bench.guest.identity());
    let (snapshot, warnings, _) = Snapshot::take(&guest, 256, 2);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("ring3_uintr.ko: No such device"),
        "{warnings:?}"
    );
    let source = bench.c(
        "processors",
        "#include <unistd.h>\nint main(void) { return sysconf(_SC_NPROCESSORS_ONLN); }",
    );
    let job = JobBuilder::new(&source)
        .cache(cache())
        .prepare(&guest.contents(), &mut |_| {})
        .unwrap();
    assert_eq!(snapshot.run(&guest, &job, |_, _| false).status(), 2);
}
