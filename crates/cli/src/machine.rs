//! `ring3 machine`: the processors that the timing engine can model.

use crate::failure::{Failure, Result};
use crate::print;
use crate::timing::description;
use clap::{Args, Subcommand};
use ring3_timing::{Description, SHIPPED, SPECS, show_value};

/// Shows, checks and compares descriptions of processors
///
/// A description is a TOML file in which every number stands with its unit and its source. Those that
/// come with ring3 have names.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Lists the machines that come with ring3
    List,
    /// Shows every number of a machine, with unit, meaning and source
    Show {
        /// A name or a file
        #[arg(value_name = "NAME|FILE")]
        machine: String,
    },
    /// Checks a description: unknown keys, missing or contradictory values
    Check {
        /// Files or names
        #[arg(value_name = "NAME|FILE", required = true)]
        machines: Vec<String>,
    },
    /// Shows in what two machines differ
    Diff {
        /// A name or a file
        #[arg(value_name = "A")]
        a: String,
        /// A name or a file
        #[arg(value_name = "B")]
        b: String,
    },
}

/// Does it.
///
/// # Errors
/// A machine that does not exist or makes no sense.
pub fn execute(options: &Options) -> Result<u8> {
    match &options.command {
        Command::List => {
            let mut text = String::new();
            for (name, _) in SHIPPED {
                if let Some(found) = Description::shipped(name) {
                    text.push_str(&format!("{name:20} {}\n", found.sentence));
                }
            }
            print(&text)?;
        }
        Command::Show { machine } => print(&show(&description(machine)?))?,
        Command::Check { machines } => {
            let mut wrong = Vec::new();
            for machine in machines {
                match description(machine) {
                    Ok(found) => print(&format!("{machine}: {} is right\n", found.name))?,
                    Err(failure) => wrong.push(failure.to_string()),
                }
            }
            if !wrong.is_empty() {
                return Err(Failure::new(wrong.join("\n")));
            }
        }
        Command::Diff { a, b } => print(&diff(&description(a)?, &description(b)?))?,
    }
    Ok(0)
}

fn show(machine: &Description) -> String {
    let mut text = format!("{}: {}\n", machine.name, machine.sentence);
    let mut section = "";
    for (spec, entry) in SPECS.iter().zip(&machine.entries) {
        let (part, key) = spec.path.split_once('.').unwrap_or(("", spec.path));
        if part != section {
            section = part;
            text.push_str(&format!("\n{section}\n"));
        }
        let value = show_value(spec, entry.value);
        text.push_str(&format!(
            "  {key:24} {value:>16} {:12} {}\n",
            spec.unit, spec.sentence
        ));
        text.push_str(&format!(
            "  {:24} {:>16} {:12}   from: {}\n",
            "", "", "", entry.source
        ));
    }
    text
}

fn diff(a: &Description, b: &Description) -> String {
    let mut text = format!("{:36} {:>18} {:>18}\n", "", a.name, b.name);
    let mut count = 0;
    for ((spec, left), right) in SPECS.iter().zip(&a.entries).zip(&b.entries) {
        if left.value != right.value {
            count += 1;
            let (left, right) = (show_value(spec, left.value), show_value(spec, right.value));
            text.push_str(&format!(
                "{:36} {left:>18} {right:>18} {}\n",
                spec.path, spec.unit
            ));
        }
    }
    if count == 0 {
        text.push_str("no difference\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_differ_in_their_policy_alone() {
        let shipped = |name| Description::shipped(name).unwrap();
        let text = diff(&shipped("xui-gem5"), &shipped("xui-gem5-tracked"));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("uintr.policy") && text.contains("tracked"));
        assert!(diff(&shipped("spr"), &shipped("spr")).ends_with("no difference\n"));
    }
}
