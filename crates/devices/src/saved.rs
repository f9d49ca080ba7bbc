//! The saved form that every device here shares: one byte of version, then the state as postcard
//! writes it.
//!
//! Saved bytes are not trusted. A device that loads them checks first that its state could have
//! arisen, because the arithmetic of its behaviour relies on that.

use ring3_bus::LoadError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A state that can tell whether it could have arisen in a running device.
pub(crate) trait Plausible {
    /// What is wrong with it, as the end of a sentence.
    fn implausible(&self) -> Option<&'static str>;
}

/// The saved form of `state`.
pub(crate) fn save(version: u8, state: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(state, vec![version]).expect("a device's state holds only plain data")
}

/// The state in `saved`, if those bytes are one.
pub(crate) fn load<S: DeserializeOwned + Plausible>(
    device: &str,
    version: u8,
    saved: &[u8],
) -> Result<S, LoadError> {
    let refuse = |why: &str| Err(LoadError(format!("saved state of {device}: {why}")));
    let Some((&found, body)) = saved.split_first() else {
        return refuse("it is empty");
    };
    if found != version {
        return refuse(&format!("version {found}, expected {version}"));
    }
    let state: S = match postcard::take_from_bytes(body) {
        Ok((state, [])) => state,
        Ok((_, rest)) => return refuse(&format!("{} bytes too many", rest.len())),
        Err(error) => return refuse(&error.to_string()),
    };
    match state.implausible() {
        Some(why) => refuse(why),
        None => Ok(state),
    }
}
