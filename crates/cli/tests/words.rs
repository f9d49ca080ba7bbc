//! Help, manual, completions and usage errors.

mod support;

use support::*;

const COMMANDS: [&[&str]; 15] = [
    &[],
    &["run"],
    &["boot"],
    &["stat"],
    &["machine"],
    &["machine", "list"],
    &["machine", "show"],
    &["machine", "check"],
    &["machine", "diff"],
    &["guest"],
    &["guest", "build"],
    &["guest", "list"],
    &["guest", "clean"],
    &["completions"],
    &["man"],
];

#[test]
fn every_command_has_help_with_all_its_parts() {
    for command in COMMANDS {
        let output = run([command, &["--help"]].concat());
        let text = stdout(&output);
        assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
        assert!(text.contains("Usage: ring3"), "{command:?}: {text}");
        assert!(text.contains("Exit status:"), "{command:?}: {text}");
        let short = stdout(&run([command, &["-h"]].concat()));
        assert!(short.len() < text.len(), "{command:?}");
        for line in text.lines() {
            assert!(line.chars().count() <= 120, "{command:?}: {line}");
        }
    }
    for command in ["run", "boot", "guest"] {
        let text = stdout(&run([command, "--help"]));
        for part in ["Examples:", "Files:", "Environment:"] {
            assert!(text.contains(part), "{command} lacks {part}");
        }
    }
    // Options that have a value have a default or say what happens without.
    for command in ["run", "boot"] {
        let text = stdout(&run([command, "--help"]));
        for (option, default) in [
            ("--cpus <N>", "[default: 2]"),
            ("--mem <SIZE>", "[default: 512M]"),
            ("--seed <N>", "[default: 0]"),
            ("--engine <ENGINE>", "[default: interp]"),
        ] {
            let (_, about) = text.split_once(option).expect(option);
            assert!(about[..400].contains(default), "{option}: {about}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let (folder, _) = file("unused", b"");
    let pages = folder.path().join("pages");
    let output = run(["man", "--dir", pages.to_str().unwrap()]);
    assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
    for command in COMMANDS {
        let name = [&["ring3"], command].concat().join("-");
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).expect(&name);
        assert!(
            page.contains(&format!(".TH {}", name.to_uppercase())),
            "{page}"
        );
        for part in [
            ".SH NAME",
            ".SH SYNOPSIS",
            ".SH DESCRIPTION",
            "EXIT STATUS",
            "SEE ALSO",
        ] {
            assert!(page.contains(part), "{name} lacks {part}");
        }
        assert_eq!(stdout(&run([&["man"], command].concat())), page);
        // Control characters of roff at the beginning of a line of text would swallow the line.
        if which("groff") {
            let formatted = std::process::Command::new("groff")
                .args(["-man", "-ww", "-Tutf8", "-z"])
                .arg(pages.join(format!("{name}.1")))
                .output()
                .unwrap();
            assert_eq!(stderr(&formatted), "", "{name}");
        }
    }
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), COMMANDS.len());
    assert_failure(
        &run(["man", "fly"]),
        125,
        &["no command fly", "guest build"],
    );
}

fn which(tool: &str) -> bool {
    std::process::Command::new(tool)
        .arg("--version")
        .output()
        .is_ok()
}

#[test]
fn completions_for_shells() {
    for (shell, sign) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ring3"),
        ("fish", "complete -c ring3"),
    ] {
        let output = run(["completions", shell]);
        assert_eq!(status(&output), 0);
        assert!(stdout(&output).contains(sign), "{shell}");
    }
    // Bash at least is there to read it.
    let script = stdout(&run(["completions", "bash"]));
    let (_folder, path) = file("ring3.bash", script.as_bytes());
    let check = std::process::Command::new("bash")
        .arg("-n")
        .arg(&path)
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", stderr(&check));
    assert_failure(&run(["completions", "abacus"]), 125, &["abacus", "bash"]);
}

#[test]
fn usage_errors_have_a_status_of_their_own() {
    assert_failure(&run(["--fly"]), 125, &["--fly"]);
    assert_failure(&run(["fly"]), 125, &["fly"]);
    assert_failure(&run(["run"]), 125, &["PROGRAM"]);
    assert_failure(&run(["run", "--mem"]), 125, &["--mem"]);
    for words in [&[][..], &["guest"]] {
        let output = run(words);
        assert_eq!((status(&output), stdout(&output).as_str()), (125, ""));
        assert!(stderr(&output).contains("Usage: ring3"));
    }
    assert_eq!(status(&run(["--version"])), 0);
    assert_eq!(
        stdout(&run(["--version"])),
        format!("ring3 {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn help_to_a_closed_pipe_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for command in [["run", "--help"], ["man", "run"], ["completions", "bash"]] {
        let output = ring3()
            .args(command)
            .stdout(writer.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(
            (status(&output), stderr(&output).as_str()),
            (0, ""),
            "{command:?}"
        );
    }
}

#[test]
fn an_empty_cache_is_said_to_be_empty() {
    let (folder, _) = file("unused", b"");
    let guest = |arguments: &[&str]| {
        ring3()
            .env("XDG_CACHE_HOME", folder.path())
            .arg("guest")
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = guest(&["list"]);
    assert_eq!((status(&output), stdout(&output).as_str()), (0, ""));
    assert!(stderr(&output).contains("nothing in"));
    assert_eq!(status(&guest(&["clean", "--all"])), 0);
    assert_failure(
        &guest(&["clean", "nobody"]),
        125,
        &["nothing", "ring3 guest list"],
    );
    assert_failure(&guest(&["build", "--name", "a/b"]), 125, &["a/b", "dashes"]);
    assert_failure(
        &guest(&["build", "--kernel", "/nonexistent"]),
        125,
        &["/nonexistent"],
    );
    let output = ring3()
        .env("XDG_CACHE_HOME", folder.path())
        .args(["run", "--guest", "nobody", "/bin/true"])
        .output()
        .unwrap();
    assert_failure(&output, 125, &["no guest nobody", "guest build"]);
    let output = ring3()
        .env_remove("XDG_CACHE_HOME")
        .env_remove("HOME")
        .args(["guest", "list"])
        .output()
        .unwrap();
    assert_failure(&output, 125, &["XDG_CACHE_HOME"]);
}
