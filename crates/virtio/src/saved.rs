//! The saved form shared by everything here: a version byte, then postcard.

use ring3_bus::LoadError;
use serde::{Serialize, de::DeserializeOwned};

/// `version`, then `state` in postcard's encoding.
pub(crate) fn encode<T: Serialize>(version: u8, state: &T) -> Vec<u8> {
    let bytes = vec![version];
    postcard::to_extend(state, bytes).expect("writing to a Vec does not fail")
}

/// Takes apart what [`encode`] made; `what` names the device in the error.
pub(crate) fn decode<T: DeserializeOwned>(
    what: &str,
    version: u8,
    bytes: &[u8],
) -> Result<T, LoadError> {
    let Some((&found, rest)) = bytes.split_first() else {
        return Err(LoadError(format!("{what}: the saved state is empty")));
    };
    if found != version {
        return Err(LoadError(format!(
            "{what}: the saved state has version {found}, this build reads version {version}"
        )));
    }
    match postcard::take_from_bytes(rest) {
        Ok((state, [])) => Ok(state),
        Ok((_, more)) => Err(LoadError(format!(
            "{what}: {} bytes follow the saved state",
            more.len()
        ))),
        Err(error) => Err(LoadError(format!("{what}: {error}"))),
    }
}

/// `Ok` if `valid`, else an error that says what is wrong with the state of `what`.
pub(crate) fn check(what: &str, valid: bool, wrong: &str) -> Result<(), LoadError> {
    if valid {
        Ok(())
    } else {
        Err(LoadError(format!("{what}: {wrong}")))
    }
}
