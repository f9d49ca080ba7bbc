//! Linux's bzImage: setup header, protected-mode code, and the compressed kernel inside.
//!
//! Source: Linux kernel documentation, "The Linux/x86 Boot Protocol". Read: protocol 2.12 (Linux
//! 3.8) and newer, 64-bit. Not read: the PE/COFF (EFI stub) view of the same file, signatures.

use super::elf::{self, ElfClass, ElfImage};
use super::{ImageError, KERNEL_SIZE_MAX};
use crate::boot_image::Bytes;
use crate::compression::{self, Format};
use crate::linux::spec::{self, header};

/// A bzImage, taken apart; the kernel inside is still compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BzImage {
    bytes: Bytes,
    code_start: usize,
    payload: Bytes,
    payload_format: Option<Format>,
}

/// Whether these bytes have a Linux setup header.
pub(crate) fn is_bzimage(bytes: &[u8]) -> bool {
    bytes.get(header::HEADER..header::HEADER + 4) == Some(&spec::HEADER_MAGIC)
        && bytes.get(header::BOOT_FLAG..header::BOOT_FLAG + 2)
            == Some(&spec::BOOT_FLAG.to_le_bytes())
}

impl BzImage {
    /// Takes `bytes` apart.
    ///
    /// # Errors
    /// If it isn't a bzImage of protocol 2.12 or newer with 64-bit code, or is truncated.
    pub fn parse(bytes: Bytes) -> Result<BzImage, ImageError> {
        if !is_bzimage(&bytes) {
            return Err(ImageError::bzimage("it has no Linux setup header"));
        }
        let actual = bytes.len() as u64;
        let truncated = |what: &str, needed: u64| ImageError::Truncated {
            what: what.to_owned(),
            needed,
            actual,
        };
        if actual < spec::SETUP_HEADER_END_MAX as u64 {
            return Err(truncated(
                "the setup header",
                spec::SETUP_HEADER_END_MAX as u64,
            ));
        }
        let field = |at| u32_at(&bytes, at);
        let version = u16_at(&bytes, header::VERSION);
        if version < spec::VERSION_MIN {
            return Err(ImageError::bzimage(format!(
                "its boot protocol is {}.{:02}, and 2.12 (Linux 3.8) is the oldest with a 64-bit entry",
                version >> 8,
                version & 0xff
            )));
        }
        if bytes[header::LOADFLAGS] & spec::load_flag::LOADED_HIGH == 0 {
            return Err(ImageError::bzimage(
                "it is a zImage, which belongs below 640 KiB: build a bzImage (`make bzImage`)",
            ));
        }
        if u16_at(&bytes, header::XLOADFLAGS) & spec::xload_flag::KERNEL_64 == 0 {
            return Err(ImageError::OtherArchitecture {
                machine: "32-bit x86".to_owned(),
            });
        }

        let sectors = match bytes[header::SETUP_SECTS] {
            0 => 4,
            n => usize::from(n),
        };
        let code_start = (sectors + 1) * 512;
        let code_end = code_start as u64 + u64::from(field(header::SYSSIZE)) * 16;
        if code_end > actual {
            return Err(truncated("the protected-mode code", code_end));
        }
        let payload_start = code_start as u64 + u64::from(field(header::PAYLOAD_OFFSET));
        let payload_end = payload_start + u64::from(field(header::PAYLOAD_LENGTH));
        if payload_end > actual {
            return Err(truncated("the compressed kernel", payload_end));
        }
        let payload = bytes
            .slice(payload_start as usize..payload_end as usize)
            .expect("checked against the file's size");
        Ok(BzImage {
            payload_format: Format::detect(&payload),
            payload,
            code_start,
            bytes,
        })
    }

    /// The file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The protected-mode code: everything behind the setup code.
    pub fn code(&self) -> Bytes {
        self.bytes
            .slice(self.code_start..self.bytes.len())
            .expect("checked when it was read")
    }

    /// How the kernel inside is compressed, if that is known.
    pub fn payload_format(&self) -> Option<Format> {
        self.payload_format
    }

    /// A 32-bit field of the setup header; see [`spec::header`].
    pub(crate) fn u32_field(&self, at: usize) -> u32 {
        u32_at(&self.bytes, at)
    }

    /// A 64-bit field of the setup header.
    pub(crate) fn u64_field(&self, at: usize) -> u64 {
        u64::from(u32_at(&self.bytes, at)) | u64::from(u32_at(&self.bytes, at + 4)) << 32
    }

    /// An 8-bit field of the setup header.
    pub(crate) fn u8_field(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// What the kernel calls itself: `6.1.0-18-cloud-amd64 (...) #1 SMP ...`. `None` if it doesn't
    /// say, or says something unprintable.
    pub fn version(&self) -> Option<String> {
        const LENGTH_MAX: usize = 512;
        let at = match u16_at(&self.bytes, header::KERNEL_VERSION) {
            0 => return None,
            at => usize::from(at) + 0x200,
        };
        let text = self.bytes[..self.code_start.min(self.bytes.len())].get(at..)?;
        let text = &text[..text.len().min(LENGTH_MAX)];
        let text = &text[..text.iter().position(|b| *b == 0)?];
        let printable = !text.is_empty() && text.iter().all(|b| matches!(b, b' '..=b'~'));
        printable.then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// The kernel inside, decompressed. What follows the ELF file in it (relocations for address
    /// randomisation) is left alone.
    ///
    /// # Errors
    /// If it can't be decompressed, or isn't a 64-bit ELF file.
    pub fn extract(&self) -> Result<ElfImage, ImageError> {
        let vmlinux = if elf::is_elf(&self.payload) {
            self.payload.clone()
        } else {
            self.decompress()?
        };
        let image = ElfImage::parse(vmlinux)?;
        if image.class != ElfClass::Elf64 {
            return Err(ImageError::OtherArchitecture {
                machine: "32-bit x86".to_owned(),
            });
        }
        Ok(image)
    }

    fn decompress(&self) -> Result<Bytes, ImageError> {
        const SIZE_BYTES: usize = 4;
        let Some(format) = self.payload_format else {
            return Err(ImageError::bzimage(format!(
                "how the kernel inside is compressed is not known (it begins with {}): let the guest decompress it (the compressed entry)",
                super::FirstBytes(&self.payload)
            )));
        };
        // "payload_length ... The last four bytes are the uncompressed size": the build appends it,
        // except to gzip data, which ends with it anyway.
        let Some(end) = self.payload.len().checked_sub(SIZE_BYTES) else {
            return Err(ImageError::bzimage("the kernel inside is empty"));
        };
        let expected = u64::from(u32_at(&self.payload, end));
        let data = match format {
            Format::Gzip => &self.payload[..],
            _ => &self.payload[..end],
        };
        let vmlinux = compression::decompress(format, data, expected, KERNEL_SIZE_MAX)
            .map_err(|source| ImageError::Payload { source })?;
        if vmlinux.len() as u64 != expected {
            return Err(ImageError::bzimage(format!(
                "the kernel inside is damaged: it says that it has {expected} bytes, and decompresses to {}",
                vmlinux.len()
            )));
        }
        Ok(vmlinux.into())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
pub(crate) mod testing {
    //! bzImages made to measure.

    use super::*;

    /// A bzImage with one sector of setup code (and the boot sector) around `payload`, to which the
    /// size `size` is appended.
    pub(crate) fn bzimage(payload: &[u8], size: Option<u32>) -> Vec<u8> {
        const PAYLOAD_OFFSET: usize = 0x300;
        let mut payload = payload.to_vec();
        if let Some(size) = size {
            payload.extend(size.to_le_bytes());
        }
        let mut file = vec![0; 1024 + PAYLOAD_OFFSET];
        file.extend(&payload);
        file.resize(file.len().next_multiple_of(16), 0);
        let version = b"6.6.6 (someone@somewhere) #1\0";
        file[0x280..0x280 + version.len()].copy_from_slice(version);
        let size16 = (file.len() as u32 - 1024) / 16;
        let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
        put(header::SETUP_SECTS, &[1]);
        put(header::SYSSIZE, &size16.to_le_bytes());
        put(header::BOOT_FLAG, &spec::BOOT_FLAG.to_le_bytes());
        put(0x200, &[0xeb, 0x6a]);
        put(header::HEADER, &spec::HEADER_MAGIC);
        put(header::VERSION, &0x020f_u16.to_le_bytes());
        put(header::KERNEL_VERSION, &0x80_u16.to_le_bytes());
        put(header::LOADFLAGS, &[1]);
        put(header::CODE32_START, &0x10_0000_u32.to_le_bytes());
        put(header::INITRD_ADDR_MAX, &0x7fff_ffff_u32.to_le_bytes());
        put(header::KERNEL_ALIGNMENT, &0x20_0000_u32.to_le_bytes());
        put(header::RELOCATABLE_KERNEL, &[1]);
        put(header::XLOADFLAGS, &0x7f_u16.to_le_bytes());
        put(header::CMDLINE_SIZE, &2047_u32.to_le_bytes());
        put(
            header::PAYLOAD_OFFSET,
            &(PAYLOAD_OFFSET as u32).to_le_bytes(),
        );
        put(
            header::PAYLOAD_LENGTH,
            &(payload.len() as u32).to_le_bytes(),
        );
        put(header::PREF_ADDRESS, &0x100_0000_u64.to_le_bytes());
        put(header::INIT_SIZE, &0x40_0000_u32.to_le_bytes());
        file
    }

    /// LZ4's legacy frame around some bytes.
    pub(crate) fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x02, 0x21, 0x4c, 0x18];
        for block in bytes.chunks(8 << 20) {
            let block = lz4_flex::block::compress(block);
            frame.extend((block.len() as u32).to_le_bytes());
            frame.extend(block);
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{bzimage, lz4};
    use super::*;
    use crate::kernel::KernelImage;
    use crate::kernel::elf::testing::{Load, elf};
    use ring3_arch::GuestPhys;
    use std::io::Write;

    fn vmlinux(class: ElfClass) -> Vec<u8> {
        let text = vec![0x90; 0x1000];
        let load = Load {
            virtual_address: 0x8100_0000,
            physical: 0x100_0000,
            bytes: &text,
            memory_size: 0x3000,
        };
        let mut file = elf(class, 0x100_0000, &[load], &[]);
        // The relocations that follow it in the payload.
        file.extend([0, 0, 0, 0, 0x12, 0x34, 0, 0x81]);
        file
    }

    fn parse(file: Vec<u8>) -> Result<BzImage, ImageError> {
        match KernelImage::parse(file)? {
            KernelImage::BzImage(image) => Ok(image),
            other => panic!("recognised as {}", other.kind()),
        }
    }

    #[test]
    fn the_kernel_inside_comes_out() {
        let kernel = vmlinux(ElfClass::Elf64);
        let image = parse(bzimage(&lz4(&kernel), Some(kernel.len() as u32))).unwrap();
        assert_eq!(image.payload_format(), Some(Format::Lz4Legacy));
        assert_eq!(
            image.version().as_deref(),
            Some("6.6.6 (someone@somewhere) #1")
        );
        let inside = image.extract().unwrap();
        assert_eq!(inside.entry, GuestPhys(0x100_0000));
        assert_eq!(inside.segments.len(), 1);
        assert_eq!(inside.segments[0].memory_size, 0x3000);
    }

    #[test]
    fn gzip_brings_its_own_size() {
        let kernel = vmlinux(ElfClass::Elf64);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&kernel).unwrap();
        let image = parse(bzimage(&gzip.finish().unwrap(), None)).unwrap();
        assert_eq!(image.payload_format(), Some(Format::Gzip));
        assert!(image.extract().is_ok());
    }

    #[test]
    fn an_uncompressed_payload_is_taken_as_it_is() {
        let kernel = vmlinux(ElfClass::Elf64);
        let image = parse(bzimage(&kernel, Some(kernel.len() as u32))).unwrap();
        assert_eq!(image.payload_format(), None);
        assert!(image.extract().is_ok());
    }

    #[test]
    fn payloads_that_are_not_what_they_say_are_refused() {
        let kernel = vmlinux(ElfClass::Elf64);
        let extract = |payload: &[u8], size| {
            parse(bzimage(payload, Some(size)))
                .unwrap()
                .extract()
                .unwrap_err()
                .to_string()
        };
        let size = kernel.len() as u32;
        assert!(extract(&lz4(&kernel), size + 1).contains("damaged"));
        assert!(extract(b"something else", 4).contains("something else"));
        assert!(extract(b"\x89LZO....", 4).contains("can't be decompressed"));
        let elf32 = vmlinux(ElfClass::Elf32);
        assert!(extract(&lz4(&elf32), elf32.len() as u32).contains("32-bit x86"));
        assert!(extract(&lz4(b"no kernel"), 9).contains("ELF"));
        let image = parse(bzimage(b"", None)).unwrap();
        assert!(image.extract().is_err());
    }

    #[test]
    fn what_cannot_be_booted_is_named() {
        let patched = |at: usize, value: &[u8]| {
            let mut file = bzimage(b"", Some(0));
            file[at..at + value.len()].copy_from_slice(value);
            parse(file).unwrap_err().to_string()
        };
        assert!(patched(header::VERSION, &[0x09, 0x02]).contains("2.09"));
        assert!(patched(header::LOADFLAGS, &[0]).contains("zImage"));
        assert!(patched(header::XLOADFLAGS, &[0, 0]).contains("32-bit"));
        for (at, what) in [
            (header::SYSSIZE, "protected-mode"),
            (header::PAYLOAD_OFFSET, "compressed kernel"),
            (header::PAYLOAD_LENGTH, "compressed kernel"),
        ] {
            let message = patched(at, &[0xff; 4]);
            assert!(
                message.contains("truncated") && message.contains(what),
                "{message}"
            );
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let kernel = vmlinux(ElfClass::Elf64);
        let file = bzimage(&lz4(&kernel), Some(kernel.len() as u32));
        for keep in 0..file.len() {
            assert!(KernelImage::parse(file[..keep].to_vec()).is_err(), "{keep}");
        }
    }

    #[test]
    fn any_damage_to_the_header_is_survived() {
        let kernel = vmlinux(ElfClass::Elf64);
        let file = bzimage(&lz4(&kernel), Some(kernel.len() as u32));
        for at in 0x1f1..0x290 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = file.clone();
                damaged[at] = value;
                if let Ok(KernelImage::BzImage(image)) = KernelImage::parse(damaged) {
                    let _ = (image.version(), image.extract(), image.code());
                }
            }
        }
    }
}
