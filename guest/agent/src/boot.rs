//! From the first instruction of init to open ports.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use crate::protocol::{CONTROL_PORT, STDERR_PORT, STDIN_PORT, STDOUT_PORT};
use crate::{Control, Ports, sys};

/// What to load and how to call the guest; written by the host's builder.
const CONFIGURATION: &str = "/ring3/guest.conf";
/// Named pipes behind `/dev/stdout` and `/dev/stderr` while a port is the program's descriptor.
pub const STDOUT_FIFO: &str = "/ring3/stdout";
/// See [`STDOUT_FIFO`].
pub const STDERR_FIFO: &str = "/ring3/stderr";

/// One line of the configuration.
#[derive(Debug, PartialEq, Eq)]
enum Setting<'a> {
    HostName(&'a str),
    Module {
        path: &'a str,
        required: bool,
        parameters: &'a str,
    },
}

/// Does everything. What went wrong short of that is told to the host as warnings.
pub fn set_up() -> Result<Ports, String> {
    let mut warnings = Vec::new();
    sys::clear_umask();
    mount_all()?;
    for result in [
        make_device_links(),
        sys::loopback_up(),
        sys::hold_child_signal(),
    ] {
        if let Err(error) = result {
            warnings.push(format!("setting the guest up: {error}"));
        }
    }
    let configuration = fs::read_to_string(CONFIGURATION)
        .map_err(|error| format!("cannot read {CONFIGURATION}: {error}"))?;
    for line in configuration.lines() {
        match parse(line)? {
            None => {}
            Some(Setting::HostName(name)) => {
                if let Err(error) = sys::set_host_name(name.as_bytes()) {
                    warnings.push(format!("cannot set the host name {name}: {error}"));
                }
            }
            Some(Setting::Module {
                path,
                required,
                parameters,
            }) => {
                if let Err(error) = load(path, parameters) {
                    let text = format!("the kernel refuses {path}: {error}");
                    match required {
                        true => return Err(text),
                        false => warnings.push(text),
                    }
                }
            }
        }
    }
    let mut ports = open_ports()?;
    for text in warnings {
        ports.control.warn(text);
    }
    Ok(ports)
}

fn parse(line: &str) -> Result<Option<Setting<'_>>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.splitn(4, ' ');
    let setting = match (words.next(), words.next(), words.next(), words.next()) {
        (Some("hostname"), Some(name), None, None) => Setting::HostName(name),
        (Some("module"), Some(need @ ("required" | "optional")), Some(path), parameters) => {
            Setting::Module {
                path,
                required: need == "required",
                parameters: parameters.unwrap_or(""),
            }
        }
        _ => {
            return Err(format!(
                "{CONFIGURATION} has a line nobody understands: {line}"
            ));
        }
    };
    Ok(Some(setting))
}

fn mount_all() -> Result<(), String> {
    let mounts: [(&CStr, &CStr, &CStr); 5] = [
        (c"proc", c"/proc", c""),
        (c"sysfs", c"/sys", c""),
        (c"devtmpfs", c"/dev", c"mode=755"),
        (c"devpts", c"/dev/pts", c"gid=5,mode=620,ptmxmode=666"),
        (c"tmpfs", c"/dev/shm", c"mode=1777"),
    ];
    for (kind, target, options) in mounts {
        let path = target.to_string_lossy();
        let _ = fs::create_dir_all(&*path);
        sys::mount_virtual(kind, target, options, false)
            .map_err(|error| format!("cannot mount {}: {error}", target.to_string_lossy()))?;
    }
    // The root is the initramfs: a tmpfs that would stop at half of the memory, or a ramfs, which has no limit and
    // refuses the option.
    let _ = sys::mount_virtual(c"rootfs", c"/", c"size=80%", true);
    Ok(())
}

fn make_device_links() -> io::Result<()> {
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        (STDOUT_FIFO, "/dev/stdout"),
        (STDERR_FIFO, "/dev/stderr"),
    ] {
        symlink(target, link)?;
    }
    for fifo in [STDOUT_FIFO, STDERR_FIFO] {
        sys::make_fifo(&sys::c_string(fifo)?, 0o666)?;
    }
    Ok(())
}

fn load(path: &str, parameters: &str) -> io::Result<()> {
    match sys::load_module(&File::open(path)?, &sys::c_string(parameters)?) {
        Err(error) if error.raw_os_error() == Some(sys::EEXIST) => Ok(()),
        other => other,
    }
}

/// Ports appear a moment after the driver, when the device has answered it.
fn open_ports() -> Result<Ports, String> {
    const PATIENCE_MILLIS: u32 = 10_000;
    let wanted = [CONTROL_PORT, STDIN_PORT, STDOUT_PORT, STDERR_PORT];
    for _ in 0..PATIENCE_MILLIS {
        if let [Some(control), Some(stdin), Some(stdout), Some(stderr)] = wanted.map(find_port) {
            let open = |device: String, write: bool| {
                File::options()
                    .read(!write || device == control)
                    .write(write)
                    .custom_flags(sys::O_CLOEXEC)
                    .open(&device)
                    .map_err(|error| format!("cannot open {device}: {error}"))
            };
            return Ok(Ports {
                control: Control::new(open(control.clone(), true)?),
                stdin: open(stdin, false)?,
                stdout: open(stdout, true)?,
                stderr: open(stderr, true)?,
            });
        }
        let _ = sys::wait(&mut [], Some(1));
    }
    let missing: Vec<&str> = wanted
        .into_iter()
        .filter(|name| find_port(name).is_none())
        .collect();
    Err(format!(
        "the machine has no virtio console port named {}",
        missing.join(", ")
    ))
}

/// The device of the port of that name.
fn find_port(name: &str) -> Option<String> {
    for entry in fs::read_dir("/sys/class/virtio-ports").ok()? {
        let path = entry.ok()?.path();
        if fs::read_to_string(path.join("name")).is_ok_and(|found| found.trim_end() == name) {
            let device = format!("/dev/{}", path.file_name()?.to_str()?);
            return Path::new(&device).exists().then_some(device);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_lines() {
        assert_eq!(parse("  # a remark"), Ok(None));
        assert_eq!(
            parse("hostname ring3"),
            Ok(Some(Setting::HostName("ring3")))
        );
        assert_eq!(
            parse("module optional /ring3/modules/x.ko a=1 b=2"),
            Ok(Some(Setting::Module {
                path: "/ring3/modules/x.ko",
                required: false,
                parameters: "a=1 b=2"
            }))
        );
        assert!(parse("module perhaps /x.ko").is_err());
        assert!(parse("hostname").is_err());
    }
}
