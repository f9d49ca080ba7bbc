//! Builds the agent and collects what an installed `ring3` needs without its source tree.
//!
//! - `guest/agent`: compiled here, statically linked, with the compiler that compiles this crate; embedded as bytes.
//! - `guest/kmod`: the sources of the kernel module, built later against the headers of the guest's kernel.
//! - `include`: the C headers for programs that are given as source.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the kernel's build leaves behind in `guest/kmod`.
const PRODUCTS: [&str; 6] = ["o", "ko", "mod", "cmd", "symvers", "order"];

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    build_agent(&root, &out);
    embed(
        &root.join("guest/kmod"),
        "MODULE_SOURCES",
        &out.join("module_sources.rs"),
    );
    embed(
        &root.join("include"),
        "INCLUDE_FILES",
        &out.join("include_files.rs"),
    );
}

fn build_agent(root: &Path, out: &Path) {
    println!(
        "cargo::rerun-if-changed={}",
        root.join("guest/agent/src").display()
    );
    println!(
        "cargo::rerun-if-changed={}",
        root.join("guest/protocol/src").display()
    );
    println!("cargo::rerun-if-env-changed=RING3_AGENT");
    let agent = out.join("agent");
    // A cross build, or a system without a static C library, can bring an agent that was built elsewhere.
    if let Some(ready_made) = env::var_os("RING3_AGENT") {
        fs::copy(&ready_made, &agent).unwrap_or_else(|error| {
            panic!("RING3_AGENT={}: {error}", Path::new(&ready_made).display())
        });
        return;
    }
    let output = Command::new(env::var_os("RUSTC").expect("cargo sets it"))
        .args([
            "--edition",
            "2024",
            "--crate-name",
            "ring3_agent",
            "--crate-type",
            "bin",
        ])
        .args([
            "--target",
            "x86_64-unknown-linux-gnu",
            "-C",
            "target-feature=+crt-static",
        ])
        .args([
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-C",
            "lto=fat",
        ])
        .args(["-C", "codegen-units=1", "-C", "relocation-model=static"])
        // Paths of this machine have no business in the agent, and the same sources give the same agent anywhere.
        .arg("--remap-path-prefix")
        .arg(format!("{}=.", root.display()))
        .arg("-o")
        .arg(&agent)
        .arg(root.join("guest/agent/src/main.rs"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap_or_else(|error| panic!("cannot run rustc: {error}"));
    assert!(
        output.status.success(),
        "the agent of the default guest does not build. It needs the target x86_64-unknown-linux-gnu \
         (rustup target add x86_64-unknown-linux-gnu) and a static C library (Debian: libc6-dev); \
         or set RING3_AGENT to an agent built elsewhere.\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Writes a table of the files below a folder: relative path and contents. No folder, no rows.
fn embed(folder: &Path, name: &str, out: &Path) {
    // Also when the folder is not there yet: cargo then looks again every time.
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
    let mut text = format!("pub const {name}: &[(&str, &[u8])] = &[\n");
    for file in files {
        let relative = file.strip_prefix(folder).expect("found below it");
        let absolute = fs::canonicalize(&file).expect("it was just listed");
        writeln!(text, "    ({relative:?}, include_bytes!({absolute:?})),")
            .expect("a string takes everything");
    }
    text.push_str("];\n");
    fs::write(out, text).expect("OUT_DIR can be written");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".mod.c") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if !path
            .extension()
            .is_some_and(|extension| PRODUCTS.iter().any(|product| extension == *product))
        {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
}
