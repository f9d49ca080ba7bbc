//! Machine descriptions: TOML in, [`Parameters`] out, or an error that names file, line and key.
//!
//! ```toml
//! name = "example"
//! sentence = "What it is."
//! based_on = "spr"           # optional: everything not said here is as there
//!
//! [window]
//! reorder_buffer = { value = 512, unit = "micro-ops", source = "where the number is from" }
//! ```

use crate::parameters::{Form, Parameters, SPECS, Spec};
use std::ops::Range;
use thiserror::Error;
use toml_edit::{ImDocument, Item, TableLike, Value};

/// A description that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {message}")]
pub struct DescriptionError {
    /// The file, as the caller called it.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, with the key and what would be right.
    pub message: String,
}

/// One number with its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value, encoded as [`Form`] says.
    pub value: u64,
    /// Where it is from.
    pub source: String,
}

/// A machine, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub sentence: String,
    /// In the order of [`SPECS`].
    pub entries: Vec<Entry>,
}

/// The descriptions that come with the program: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("spr", include_str!("../../../machines/spr.toml")),
    ("toy", include_str!("../../../machines/toy.toml")),
    ("xui-gem5", include_str!("../../../machines/xui-gem5.toml")),
    (
        "xui-gem5-drain",
        include_str!("../../../machines/xui-gem5-drain.toml"),
    ),
    (
        "xui-gem5-tracked",
        include_str!("../../../machines/xui-gem5-tracked.toml"),
    ),
];

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: Option<Range<usize>>, message: String) -> DescriptionError {
        let start = at.map_or(0, |range| range.start).min(self.text.len());
        let before = &self.text.as_bytes()[..start];
        DescriptionError {
            file: self.file.into(),
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            message,
        }
    }

    fn string(&self, key: &str, item: &Item) -> Result<String, DescriptionError> {
        match item.as_str() {
            Some(text) if !text.trim().is_empty() => Ok(text.into()),
            _ => Err(self.error(
                item.span(),
                format!("`{key}` must be a string with words in it"),
            )),
        }
    }

    fn value(&self, spec: &Spec, value: &Value) -> Result<u64, DescriptionError> {
        let wrong = |what: &str| {
            Err(self.error(
                value.span(),
                format!("`{}`: the value must be {what}", spec.path),
            ))
        };
        match spec.form {
            Form::Number => match value.as_integer() {
                Some(number @ 0..) => Ok(number as u64),
                _ => wrong("a whole number, not negative"),
            },
            Form::Switch => match value.as_bool() {
                Some(switch) => Ok(switch.into()),
                None => wrong("true or false"),
            },
            Form::Choice(words) => {
                let found = value
                    .as_str()
                    .and_then(|v| words.iter().position(|w| *w == v));
                match found {
                    Some(n) => Ok(n as u64),
                    None => wrong(&format!("one of {}", words.join(", "))),
                }
            }
            Form::Ports => {
                let mut mask = 0;
                for port in value.as_array().into_iter().flatten() {
                    match port.as_integer() {
                        Some(n @ 0..16) => mask |= 1 << n,
                        _ => return wrong("a list of port numbers from 0 to 15"),
                    }
                }
                match mask {
                    0 => wrong("a list of port numbers from 0 to 15"),
                    mask => Ok(mask),
                }
            }
        }
    }

    fn entry(&self, spec: &Spec, item: &Item) -> Result<Entry, DescriptionError> {
        let path = spec.path;
        let Some(table) = item.as_table_like() else {
            return Err(self.error(
                item.span(),
                format!("`{path}` must be a table with value, unit and source"),
            ));
        };
        for (key, found) in table.iter() {
            if !["value", "unit", "source"].contains(&key) {
                let message =
                    format!("`{path}` has an unknown key `{key}`; there are value, unit, source");
                return Err(self.error(key_span(table, key).or(found.span()), message));
            }
        }
        let unit = table.get("unit").and_then(Item::as_str).unwrap_or("");
        if unit != spec.unit {
            let message = match spec.unit {
                "" => format!("`{path}` has no unit"),
                wanted => format!("`{path}` is in {wanted}: write unit = \"{wanted}\""),
            };
            return Err(self.error(item.span(), message));
        }
        let Some(value) = table.get("value").and_then(Item::as_value) else {
            return Err(self.error(item.span(), format!("`{path}` lacks its value")));
        };
        let source = match table.get("source") {
            Some(source) => self.string(&format!("{path}.source"), source)?,
            None => {
                let message = format!("`{path}` lacks its source: say where the number is from");
                return Err(self.error(item.span(), message));
            }
        };
        Ok(Entry {
            value: self.value(spec, value)?,
            source,
        })
    }
}

fn key_span(table: &dyn TableLike, key: &str) -> Option<Range<usize>> {
    table.key(key)?.span()
}

impl Description {
    /// Reads `text`; `file` is what errors call it. `based_on` may name a shipped description.
    ///
    /// # Errors
    /// The first thing that is wrong: an unknown key, a missing or contradictory value.
    pub fn parse(file: &str, text: &str) -> Result<Description, DescriptionError> {
        let reader = Reader { file, text };
        let document = ImDocument::parse(text)
            .map_err(|error| reader.error(error.span(), error.message().to_owned()))?;
        let root = document.as_table();
        let mut name = None;
        let mut sentence = None;
        let mut entries: Vec<Option<Entry>> = vec![None; SPECS.len()];
        let mut spans: Vec<Option<Range<usize>>> = vec![None; SPECS.len()];
        if let Some(base) = root.get("based_on") {
            let wanted = reader.string("based_on", base)?;
            let shipped = SHIPPED.iter().find(|(name, _)| *name == wanted);
            let Some((base_name, base_text)) = shipped else {
                let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                let message = format!(
                    "`based_on`: there is no machine `{wanted}`; there are {}",
                    names.join(", ")
                );
                return Err(reader.error(base.span(), message));
            };
            if base_text == &text {
                return Err(reader.error(
                    base.span(),
                    "`based_on`: a machine cannot be based on itself".into(),
                ));
            }
            let base = Description::parse(base_name, base_text)?;
            entries = base.entries.into_iter().map(Some).collect();
        }
        for (key, item) in root.iter() {
            match key {
                "name" => name = Some(reader.string(key, item)?),
                "sentence" => sentence = Some(reader.string(key, item)?),
                "based_on" => {}
                section => {
                    let known = SPECS
                        .iter()
                        .any(|s| s.path.split('.').next() == Some(section));
                    let span = key_span(root, key).or(item.span());
                    let Some(table) = item.as_table_like().filter(|_| known) else {
                        let message = format!("unknown key `{section}`");
                        return Err(reader.error(span, message));
                    };
                    for (key, item) in table.iter() {
                        let path = format!("{section}.{key}");
                        let Some(n) = SPECS.iter().position(|s| s.path == path) else {
                            let span = key_span(table, key).or(item.span());
                            return Err(reader.error(span, format!("unknown key `{path}`")));
                        };
                        entries[n] = Some(reader.entry(&SPECS[n], item)?);
                        spans[n] = key_span(table, key).or(item.span());
                    }
                }
            }
        }
        let name = name.ok_or_else(|| reader.error(None, "`name` is missing".into()))?;
        let sentence =
            sentence.ok_or_else(|| reader.error(None, "`sentence` is missing".into()))?;
        let missing = entries.iter().position(Option::is_none);
        if let Some(n) = missing {
            let Spec { path, unit, .. } = SPECS[n];
            let message = format!("`{path}` is missing (in {unit}; or say based_on)");
            return Err(reader.error(None, message));
        }
        let description = Description {
            name,
            sentence,
            entries: entries.into_iter().flatten().collect(),
        };
        description.check().map_err(|(path, message)| {
            let n = SPECS.iter().position(|s| s.path == path);
            reader.error(
                n.and_then(|n| spans[n].clone()),
                format!("`{path}`: {message}"),
            )
        })?;
        Ok(description)
    }

    /// The shipped description of that name.
    pub fn shipped(name: &str) -> Option<Description> {
        let (name, text) = SHIPPED.iter().find(|(n, _)| *n == name)?;
        match Description::parse(&format!("machines/{name}.toml"), text) {
            Ok(description) => Some(description),
            Err(error) => panic!("a shipped description is wrong: {error}"),
        }
    }

    /// What the engine works with.
    pub fn parameters(&self) -> Parameters {
        let values: Vec<u64> = self.entries.iter().map(|entry| entry.value).collect();
        Parameters::from_values(&values)
    }

    /// Values that contradict each other or that the engine has no room for.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let p = self.parameters();
        let range = |path: &'static str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err((path, format!("{value} is not between {low} and {high}")))
            }
        };
        if p.clock_mhz * 1_000_000 != ring3_clock::TSC_HZ {
            let hz = ring3_clock::TSC_HZ / 1_000_000;
            return Err((
                "machine.clock",
                format!("only {hz} MHz, the frequency of the time-stamp counter, is modelled"),
            ));
        }
        range("machine.threads", p.threads, 1, 4)?;
        range(
            "window.reorder_buffer",
            p.reorder_buffer,
            4 * p.threads,
            512,
        )?;
        range("window.load_queue", p.load_queue, 2 * p.threads, 1024)?;
        range("window.store_queue", p.store_queue, 2 * p.threads, 512)?;
        range("window.scheduler", p.scheduler, 2, 1024)?;
        range("window.retire_width", p.retire_width, 1, 64)?;
        range("rename.width", p.rename_width, 1, 32)?;
        range("rename.integer_registers", p.integer_registers, 32, 2048)?;
        range("rename.vector_registers", p.vector_registers, 40, 2048)?;
        range("fetch.queue", p.queue, 1, 1024)?;
        range("fetch.decode_width", p.decode_width, 1, 32)?;
        range("fetch.line_bytes", p.fetch_bytes, 4, 64)?;
        range("fetch.depth", p.front_depth, 1, 64)?;
        if p.uop_cache_uops > 0 {
            range(
                "fetch.uop_cache_ways",
                p.uop_cache_ways,
                1,
                p.uop_cache_uops,
            )?;
            range("fetch.uop_cache_width", p.uop_cache_width, 1, 32)?;
        }
        range("predictor.return_stack", p.return_stack, 1, 64)?;
        for (path, entries) in [
            ("predictor.base_entries", p.base_entries),
            ("predictor.tagged_entries", p.tagged_entries),
            ("predictor.indirect_entries", p.indirect_entries),
        ] {
            range(path, entries, 16, 1 << 20)?;
            if !entries.is_power_of_two() {
                return Err((path, format!("{entries} is not a power of two")));
            }
        }
        for (path, bytes, ways, optional) in [
            ("l1i.size", p.l1i_bytes, p.l1i_ways, false),
            ("l1d.size", p.l1d_bytes, p.l1d_ways, false),
            ("l2.size", p.l2_bytes, p.l2_ways, false),
            ("l3.size", p.l3_bytes, p.l3_ways, true),
        ] {
            if optional && bytes == 0 {
                continue;
            }
            if ways == 0 || ways > 64 || bytes == 0 || bytes % (64 * ways) != 0 || bytes > 1 << 30 {
                let message =
                    format!("{bytes} bytes cannot be divided into {ways} ways of 64-byte lines");
                return Err((path, message));
            }
        }
        for (path, entries, ways) in [
            ("predictor.target_entries", p.target_entries, p.target_ways),
            ("tlb.instruction_entries", p.itlb_entries, p.itlb_ways),
            ("tlb.data_entries", p.dtlb_entries, p.dtlb_ways),
            ("tlb.second_entries", p.stlb_entries, p.stlb_ways),
        ] {
            if ways == 0 || entries == 0 || entries % ways != 0 || entries > 1 << 20 {
                return Err((
                    path,
                    format!("{entries} entries cannot be divided into {ways} ways"),
                ));
            }
        }
        range("tlb.large_entries", p.large_tlb_entries, 1, 4096)?;
        range("tlb.directory_entries", p.directory_entries, 1, 4096)?;
        range("l1d.misses", p.l1d_misses, 1, 256)?;
        range("l2.misses", p.l2_misses, 1, 256)?;
        if p.l2_latency < p.l1d_latency {
            return Err((
                "l2.latency",
                format!("{} cycles are less than those of l1d", p.l2_latency),
            ));
        }
        if p.l3_bytes > 0 && p.l3_latency < p.l2_latency {
            return Err((
                "l3.latency",
                format!("{} cycles are less than those of l2", p.l3_latency),
            ));
        }
        if p.dram_latency < p.l2_latency {
            return Err((
                "dram.latency",
                format!("{} cycles are less than those of l2", p.dram_latency),
            ));
        }
        range("dram.channels", p.dram_channels, 1, 64)?;
        range("routine.string_bytes", p.string_bytes, 1, 64)?;
        Ok(())
    }
}

/// A value as a person writes it.
pub fn show_value(spec: &Spec, value: u64) -> String {
    match spec.form {
        Form::Number => value.to_string(),
        Form::Switch => (value != 0).to_string(),
        Form::Choice(words) => words.get(value as usize).copied().unwrap_or("?").into(),
        Form::Ports => {
            let ports: Vec<String> = (0..16)
                .filter(|n| value >> n & 1 != 0)
                .map(|n: u32| n.to_string())
                .collect();
            format!("[{}]", ports.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_description_is_right() {
        for (name, _) in SHIPPED {
            let found = Description::shipped(name).expect("it is shipped");
            assert_eq!(found.name, *name);
            assert_eq!(found.parameters().values().len(), SPECS.len());
        }
    }

    fn complaint(text: &str) -> String {
        Description::parse("x.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let start = "name = \"x\"\nsentence = \"y\"\nbased_on = \"spr\"\n";
        let with = |rest: &str| complaint(&format!("{start}{rest}"));
        assert_eq!(
            with("[window]\nrob = 3\n"),
            "x.toml:5: unknown key `window.rob`"
        );
        assert_eq!(with("[windows]\n"), "x.toml:4: unknown key `windows`");
        assert_eq!(
            with("[window]\nreorder_buffer = { value = 12, unit = \"cycles\", source = \"s\" }\n"),
            "x.toml:5: `window.reorder_buffer` is in micro-ops: write unit = \"micro-ops\""
        );
        assert_eq!(
            with("[window]\n\nreorder_buffer = { value = 12, unit = \"micro-ops\" }\n"),
            "x.toml:6: `window.reorder_buffer` lacks its source: say where the number is from"
        );
        assert_eq!(
            with("[l2]\nlatency = { value = 2, unit = \"cycles\", source = \"s\" }\n"),
            "x.toml:5: `l2.latency`: 2 cycles are less than those of l1d"
        );
        assert!(
            complaint("name = \"x\"\nsentence = \"y\"\n").contains("`machine.clock` is missing")
        );
        assert!(with("[window\n").starts_with("x.toml:4: "));
    }
}
