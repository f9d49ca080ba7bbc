//! Numbers as people type them: `512M` of memory, `20M` instructions.
//!
//! Memory counts in powers of 1024 whatever the spelling (`512M`, `512MiB`, `512MB`), as memory
//! modules, QEMU and container runtimes do; instructions count in powers of 1000. A crate that tells
//! `MB` from `MiB` would make `--mem 512MB` a machine whose memory is no whole number of pages.

/// The most memory of a machine. Beyond it, what the machine keeps about each page would no longer fit
/// into the memory of an ordinary computer, whether the guest uses the page or not.
pub const MEMORY_MAX: u64 = 1 << 40;

/// Reads an amount of memory in bytes.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    const EXAMPLE: &str = "give a number with a unit, for instance 512M or 2G";
    let bytes = scaled(text, 1024, true).map_err(|what| format!("{what}; {EXAMPLE}"))?;
    if bytes % ring3_arch::PAGE_SIZE != 0 {
        return Err(format!(
            "{bytes} bytes are not a whole number of pages of {} bytes; {EXAMPLE}",
            ring3_arch::PAGE_SIZE
        ));
    }
    if bytes > MEMORY_MAX {
        return Err(format!(
            "{} are more than the {} that a machine can have; {EXAMPLE}",
            memory(bytes),
            memory(MEMORY_MAX)
        ));
    }
    if bytes < ring3_boot::MINIMUM_RAM {
        return Err(format!(
            "{} are too few for a PC, which has at least {}; {EXAMPLE}",
            memory(bytes),
            memory(ring3_boot::MINIMUM_RAM)
        ));
    }
    Ok(bytes)
}

/// Reads a count, where `k`, `M`, `G` and `T` stand for powers of 1000.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_count(text: &str) -> Result<u64, String> {
    scaled(text, 1000, false)
        .map_err(|what| format!("{what}; give a number, for instance 500000 or 20M"))
}

fn scaled(text: &str, base: u64, bytes: bool) -> Result<u64, String> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.replace('_', "");
    if number.is_empty() {
        return Err("this does not begin with a number".into());
    }
    let unit = unit.trim().to_ascii_lowercase();
    let unit = match bytes {
        true => unit
            .strip_suffix("ib")
            .or_else(|| unit.strip_suffix('b'))
            .unwrap_or(&unit),
        false => &unit,
    };
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(format!("'{unit}' is no unit, these are: K, M, G, T")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(base.pow(power)))
        .ok_or_else(|| "this number is too large".into())
}

/// An amount of memory for people: `512 MiB`.
pub fn memory(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = bytes as f64;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    match unit == 0 || rest.fract() == 0.0 {
        true => format!("{rest:.0} {}", UNITS[unit]),
        false => format!("{rest:.1} {}", UNITS[unit]),
    }
}

/// A count for people: `12.3 million`.
pub fn count(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..1_000_000_000 => format!("{:.1} million", number as f64 / 1e6),
        _ => format!("{:.2} billion", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_as_people_type_it() {
        for (text, bytes) in [
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("512 MiB", 512 << 20),
            ("2G", 2 << 30),
            ("2097152", 2 << 20),
            ("4_096K", 4 << 20),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        for (text, about) in [
            ("", "does not begin with a number"),
            ("lots", "does not begin with a number"),
            ("-1", "does not begin with a number"),
            ("512X", "is no unit"),
            ("1.5G", "is no unit"),
            ("5000000000000000T", "too large"),
            ("99999999999999999999", "too large"),
            ("2097153", "whole number of pages"),
            ("1M", "too few"),
            ("2T", "more than the 1 TiB"),
        ] {
            let said = parse_memory(text).unwrap_err();
            assert!(
                said.contains(about) && said.contains("512M"),
                "{text}: {said}"
            );
        }
    }

    #[test]
    fn counts() {
        assert_eq!(parse_count("20M"), Ok(20_000_000));
        assert_eq!(parse_count("1k"), Ok(1000));
        assert_eq!(parse_count("7"), Ok(7));
        assert!(parse_count("20MB").is_err());
        assert_eq!(count(12_345_678), "12.3 million");
        assert_eq!(memory(512 << 20), "512 MiB");
        assert_eq!(memory((1 << 30) + (1 << 29)), "1.5 GiB");
    }
}
