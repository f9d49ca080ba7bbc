//! Which machinery carries the interrupts.

use crate::error::Error;

/// Which machinery carries the interrupts.
///
/// ```
/// use uintr::Backend;
///
/// // What `Backend::Auto` comes to here:
/// let backend = Backend::Auto.resolve()?;
/// assert!(matches!(backend, Backend::Hardware | Backend::Software));
/// # Ok::<(), uintr::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// What the environment variable `UINTR_BACKEND` says (`hardware`, `software`, `auto`); without it, the hardware if
    /// processor and kernel have user interrupts, else the software.
    #[default]
    Auto,
    /// The processor's user interrupts, through system calls 471 to 479 of the kernel or of a module.
    Hardware,
    /// Shared memory, and a signal or a futex where the receiver must be told. On any Linux.
    Software,
}

impl Backend {
    /// Decides [`Backend::Auto`], and checks that the backend works here.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for [`Backend::Hardware`] where there is none; [`Error::UnknownBackend`] if
    /// `UINTR_BACKEND` is consulted and makes no sense.
    pub fn resolve(self) -> Result<Backend, Error> {
        match self {
            Backend::Software => Ok(Backend::Software),
            Backend::Hardware => {
                crate::hardware::supported().map_err(Error::Unsupported)?;
                Ok(Backend::Hardware)
            }
            Backend::Auto => match std::env::var_os("UINTR_BACKEND") {
                None => Ok(Backend::best()),
                Some(name) => match name.to_str() {
                    Some("" | "auto") => Ok(Backend::best()),
                    Some("hardware") => Backend::Hardware.resolve(),
                    Some("software") => Ok(Backend::Software),
                    _ => Err(Error::UnknownBackend(name.to_string_lossy().into_owned())),
                },
            },
        }
    }

    fn best() -> Backend {
        match crate::hardware::supported() {
            Ok(()) => Backend::Hardware,
            Err(_) => Backend::Software,
        }
    }
}
