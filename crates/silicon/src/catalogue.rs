//! Every encoding that sequences are drawn from.
//!
//! What the processor model advertises decides; of that, what the host lacks is skipped, and what
//! [`crate::left_out`] names is left out.

use crate::left_out::left_out;
use crate::random::Random;
use ring3_arch::cpuid::{Feature, Register};
use ring3_isa::forms::iced_x86::{
    Code, CpuidFeature, FlowControl, Instruction, Mnemonic, OpCodeOperandKind,
};
use ring3_isa::forms::{Address, Form, Operands};
use ring3_isa::{CodeSize, FeatureSet};

/// What an encoding has to do with; a sequence may keep to one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// General registers.
    Integer,
    /// x87.
    X87,
    /// MMX.
    Mmx,
    /// XMM and YMM registers.
    Vector,
    /// Only allowed to the kernel: #GP(0) or #UD is all there is to see.
    Privileged,
}

/// An encoding in code of one size.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The encoding.
    pub form: Form,
    /// What it has to do with.
    pub kind: Kind,
    /// Bytes of its explicit memory operand, or 0.
    pub memory_bytes: u32,
    /// Its number among all entries of all sizes.
    pub number: u32,
}

/// Encodings of one code size.
#[derive(Clone)]
pub struct Encodings {
    /// All of them.
    pub entries: Vec<Entry>,
    /// Indices into `entries`, as often as they shall be drawn; by theme.
    pub themes: Vec<Vec<u16>>,
}

/// Encodings of all code sizes.
#[derive(Clone)]
pub struct Catalogue {
    sizes: [Encodings; 3],
    /// The number of an encoding by code size and the decoder's code, or [`ABSENT`].
    by_code: [Vec<u32>; 3],
    /// What the model has and the host has not.
    pub skipped: Vec<(CodeSize, Code)>,
    /// What is left out, with the reason.
    pub left_out: Vec<(CodeSize, Code, &'static str)>,
    /// What both have.
    pub features: FeatureSet,
    total: u32,
}

/// No number.
const ABSENT: u32 = u32::MAX;

/// The sizes of code, in the order of their discriminants.
pub const SIZES: [CodeSize; 3] = [CodeSize::Bits16, CodeSize::Bits32, CodeSize::Bits64];

/// Which features the host has.
pub fn host_features() -> FeatureSet {
    let leaf = |leaf, subleaf| {
        let of = leaf & 0x8000_0000;
        let (max, _) = std::arch::x86_64::__get_cpuid_max(of);
        (leaf <= max).then(|| std::arch::x86_64::__cpuid_count(leaf, subleaf))
    };
    let mut features = FeatureSet::EMPTY;
    for &feature in Feature::ALL {
        let (number, subleaf, register, bit) = feature.position();
        let Some(answer) = leaf(number, subleaf) else {
            continue;
        };
        let word = match register {
            Register::Eax => answer.eax,
            Register::Ebx => answer.ebx,
            Register::Ecx => answer.ecx,
            Register::Edx => answer.edx,
        };
        if word >> bit & 1 != 0 {
            features = features.with(feature);
        }
    }
    // Announced by Intel's processors; others may lack the bit, but not what it stands for in programs.
    features
}

/// The host's vendor, as CPUID names it.
pub fn host_vendor() -> String {
    let leaf = std::arch::x86_64::__cpuid(0);
    let bytes: Vec<u8> = [leaf.ebx, leaf.edx, leaf.ecx]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Draws some operands to look at an encoding.
struct Any(Random);

impl Operands for Any {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }
    fn prefers_memory(&mut self) -> bool {
        self.0.chance(2)
    }
    fn address(&mut self) -> Address {
        Address::at(ring3_isa::forms::iced_x86::Register::EBX)
    }
    fn immediate(&mut self, _: u32) -> u64 {
        self.0.below(100)
    }
    fn target(&mut self) -> u64 {
        0x40
    }
}

fn examples(form: Form, size: CodeSize) -> Vec<Instruction> {
    let mut any = Any(Random::new(form.code as u64));
    (0..12)
        .filter_map(|_| form.encode(size, 0x40, &mut any))
        .map(|encoded| encoded.instruction)
        .collect()
}

fn kind(code: Code) -> Kind {
    use OpCodeOperandKind as K;
    let info = code.op_code();
    let features = code.cpuid_features();
    let mut vector = false;
    let mut mmx = false;
    for kind in info.op_kinds() {
        let name = format!("{kind:?}");
        vector |= name.contains("xmm") || name.contains("ymm");
        mmx |= name.starts_with("mm_") || matches!(kind, K::mm_or_mem | K::mm_reg | K::mm_rm);
    }
    // Ports and IF are the kernel's as well, with Linux' IOPL.
    use Mnemonic::*;
    let ports = matches!(
        code.mnemonic(),
        In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd | Cli | Sti
    );
    let privileged = ports || info.cpl0() && !info.cpl3();
    let x87 = features.iter().any(|f| {
        matches!(
            f,
            CpuidFeature::FPU | CpuidFeature::FPU287 | CpuidFeature::FPU387
        )
    });
    if privileged || code.flow_control() == FlowControl::Exception {
        Kind::Privileged
    } else if x87 {
        Kind::X87
    } else if vector {
        Kind::Vector
    } else if mmx || code.mnemonic() == Mnemonic::Emms {
        Kind::Mmx
    } else {
        Kind::Integer
    }
}

/// Forms that mean something else, rather than nothing, on processors without the feature.
fn changes_with_host(code: Code, machine: FeatureSet, host: FeatureSet) -> bool {
    let feature = match code.mnemonic() {
        Mnemonic::Tzcnt => Feature::Bmi1,
        Mnemonic::Lzcnt => Feature::Lzcnt,
        _ => return false,
    };
    machine.has(feature) != host.has(feature)
}

impl Encodings {
    fn new(entries: Vec<Entry>) -> Encodings {
        let pick = |weight: &dyn Fn(&Entry) -> usize| -> Vec<u16> {
            entries
                .iter()
                .enumerate()
                .flat_map(|(n, entry)| std::iter::repeat_n(n as u16, weight(entry)))
                .collect()
        };
        let only = |kinds: &'static [Kind]| {
            pick(&move |entry: &Entry| usize::from(kinds.contains(&entry.kind)))
        };
        let any = pick(&|entry| match entry.kind {
            Kind::Privileged => 1,
            _ => 12,
        });
        let themes = vec![
            any.clone(),
            any,
            only(&[Kind::Integer]),
            only(&[Kind::X87]),
            only(&[Kind::X87, Kind::Mmx]),
            only(&[Kind::Vector]),
        ];
        Encodings {
            themes: themes.into_iter().filter(|t| !t.is_empty()).collect(),
            entries,
        }
    }
}

impl Catalogue {
    /// The encodings of a model with features `model` on this host.
    pub fn new(model: FeatureSet) -> Catalogue {
        let host = host_features();
        let both = model
            .iter()
            .filter(|&feature| host.has(feature))
            .fold(FeatureSet::EMPTY, FeatureSet::with);
        let mut catalogue = Catalogue {
            sizes: SIZES.map(|_| Encodings::new(Vec::new())),
            by_code: SIZES.map(|_| vec![ABSENT; Code::values().len()]),
            skipped: Vec::new(),
            left_out: Vec::new(),
            features: both,
            total: 0,
        };
        for size in SIZES {
            let on_host: Vec<Form> = Form::all(size, both).collect();
            let mut entries = Vec::new();
            for form in Form::all(size, model) {
                if !on_host.contains(&form) || changes_with_host(form.code, model, host) {
                    catalogue.skipped.push((size, form.code));
                    continue;
                }
                let examples = examples(form, size);
                let reasons: Vec<_> = examples.iter().map(left_out).collect();
                if !reasons.is_empty()
                    && let Some(reason) = reasons.iter().copied().collect::<Option<Vec<_>>>()
                {
                    catalogue.left_out.push((size, form.code, reason[0].reason));
                    continue;
                }
                let memory = examples.iter().map(|i| i.memory_size().size() as u32).max();
                let number = catalogue.total;
                catalogue.total += 1;
                catalogue.by_code[size as usize][form.code as usize] = number;
                entries.push(Entry {
                    form,
                    kind: kind(form.code),
                    memory_bytes: memory.unwrap_or(0),
                    number,
                });
            }
            catalogue.sizes[size as usize] = Encodings::new(entries);
        }
        catalogue
    }

    /// The encodings of one size.
    pub fn of(&self, size: CodeSize) -> &Encodings {
        &self.sizes[size as usize]
    }

    /// The number of an instruction's encoding, if it is one of these.
    pub fn number(&self, size: CodeSize, code: Code) -> Option<u32> {
        let number = self.by_code[size as usize].get(code as usize).copied();
        number.filter(|&number| number != ABSENT)
    }

    /// How many encodings there are in all.
    pub fn count(&self) -> usize {
        self.total as usize
    }
}
