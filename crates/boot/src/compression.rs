//! The compressed forms in which kernels and initial file systems come.
//!
//! The decoders are crates; here they are recognised, bounded and told apart. Bounded means: never
//! more output than the caller's limit, never a dictionary larger than [`DICTIONARY_LIMIT_KIB`],
//! and no other memory than in proportion to these. Not offered: LZO (no maintained decoder in
//! safe Rust; the guest can still decompress such a kernel itself) and `compress`'s LZW.

use std::error::Error as _;
use std::fmt;
use std::io::{self, BufRead, Read};
use thiserror::Error;

/// The largest dictionary that LZMA, XZ and Zstandard streams may ask for, in KiB (256 MiB). The
/// kernel's own build uses up to 128 MiB.
pub const DICTIONARY_LIMIT_KIB: u32 = 256 << 10;

/// A compressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// "LZMA alone": the older container, with a 13-byte header.
    Lzma,
    /// The .xz container.
    Xz,
    /// lzop.
    Lzo,
    /// LZ4's legacy frame: blocks of 8 MiB, no checksums. The only LZ4 form that Linux uses.
    Lz4Legacy,
    /// RFC 8878.
    Zstd,
}

impl Format {
    /// Recognises a form by its first bytes.
    pub fn detect(bytes: &[u8]) -> Option<Format> {
        const MAGIC: [(&[u8], Format); 7] = [
            (&[0x1f, 0x8b], Format::Gzip),
            (b"BZh", Format::Bzip2),
            // Properties 5Dh (lc=3, lp=0, pb=2) and a dictionary size that is a multiple of 64 KiB.
            (&[0x5d, 0x00, 0x00], Format::Lzma),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"\x89LZO", Format::Lzo),
            (&[0x02, 0x21, 0x4c, 0x18], Format::Lz4Legacy),
            (&[0x28, 0xb5, 0x2f, 0xfd], Format::Zstd),
        ];
        MAGIC
            .iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, format)| *format)
    }

    /// The command that undoes it, for messages.
    pub fn tool(self) -> &'static str {
        match self {
            Format::Gzip => "gzip -d",
            Format::Bzip2 => "bzip2 -d",
            Format::Lzma => "xz --format=lzma -d",
            Format::Xz => "xz -d",
            Format::Lzo => "lzop -d",
            Format::Lz4Legacy => "lz4 -d",
            Format::Zstd => "zstd -d",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Gzip => "gzip",
            Format::Bzip2 => "bzip2",
            Format::Lzma => "LZMA",
            Format::Xz => "XZ",
            Format::Lzo => "LZO",
            Format::Lz4Legacy => "LZ4 (legacy frame)",
            Format::Zstd => "Zstandard",
        })
    }
}

/// Compressed data could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecompressError {
    /// There is no decoder.
    #[error("{0} data can't be decompressed here")]
    Unsupported(Format),
    /// The data ends too early.
    #[error("the {0} data is truncated: it ends before its end mark")]
    Truncated(Format),
    /// The data contradicts itself.
    #[error("the {format} data is damaged: {detail}")]
    Corrupt {
        /// The form.
        format: Format,
        /// What the decoder says.
        detail: String,
    },
    /// More comes out than the caller wants to have.
    #[error("the {format} data decompresses to more than the limit of {limit} bytes")]
    TooLarge {
        /// The form.
        format: Format,
        /// The limit.
        limit: u64,
    },
}

impl DecompressError {
    pub(crate) fn from_io(format: Format, error: &io::Error) -> DecompressError {
        if is_unexpected_eof(error) {
            DecompressError::Truncated(format)
        } else {
            DecompressError::Corrupt {
                format,
                detail: error.to_string(),
            }
        }
    }
}

/// Whether an error, or an error inside it, is that the source ended.
fn is_unexpected_eof(error: &io::Error) -> bool {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return true;
    }
    let mut inner = error.get_ref().map(|e| e as &dyn std::error::Error);
    while let Some(e) = inner {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return is_unexpected_eof(io);
        }
        inner = e.source();
    }
    error
        .source()
        .is_some_and(|e| e.downcast_ref::<io::Error>().is_some_and(is_unexpected_eof))
}

/// A decoder over `source`. When it has come to its end, `source` stands behind the compressed
/// data for every form whose end can be told (not LZMA and LZ4).
pub(crate) fn decoder<'a>(
    format: Format,
    source: &'a mut &[u8],
) -> Result<Box<dyn Read + 'a>, DecompressError> {
    let failed = |e: &io::Error| DecompressError::from_io(format, e);
    Ok(match format {
        Format::Gzip => Box::new(flate2::bufread::GzDecoder::new(source)),
        Format::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(source)),
        Format::Lzma => Box::new(
            lzma_rust2::LzmaReader::new_mem_limit(source, DICTIONARY_LIMIT_KIB, None)
                .map_err(|e| failed(&e))?,
        ),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            source,
            false,
            DICTIONARY_LIMIT_KIB,
        )),
        Format::Lzo => return Err(DecompressError::Unsupported(format)),
        Format::Lz4Legacy => Box::new(Lz4Legacy::new(source)),
        Format::Zstd => {
            let window = u64::from(DICTIONARY_LIMIT_KIB) << 10;
            let decoder =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(source, window)
                    .map_err(|e| failed(&io::Error::other(e)))?;
            Box::new(ZstdChecked {
                decoder: Some(decoder),
            })
        }
    })
}

/// Decompresses all of `data`, to at most `limit` bytes.
///
/// `expected` is how many bytes should come out; it only sizes the first allocation.
///
/// # Errors
/// If the data is damaged or truncated, or more than `limit` bytes come out.
pub fn decompress(
    format: Format,
    data: &[u8],
    expected: u64,
    limit: u64,
) -> Result<Vec<u8>, DecompressError> {
    let mut source = data;
    let mut output = Vec::with_capacity(expected.min(limit) as usize);
    let mut decoder = decoder(format, &mut source)?.take(limit.saturating_add(1));
    decoder
        .read_to_end(&mut output)
        .map_err(|e| DecompressError::from_io(format, &e))?;
    if output.len() as u64 > limit {
        return Err(DecompressError::TooLarge { format, limit });
    }
    Ok(output)
}

/// LZ4's legacy frame. LZ4 Frame Format Description, "Legacy frame": a magic number, then blocks,
/// each with its compressed size in four bytes before it. There is no end mark: the last block is
/// the one behind which nothing comes.
struct Lz4Legacy<'a, 'b> {
    source: &'a mut &'b [u8],
    started: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a, 'b> Lz4Legacy<'a, 'b> {
    /// What a block decompresses to, at most.
    const BLOCK_SIZE: usize = 8 << 20;

    fn new(source: &'a mut &'b [u8]) -> Self {
        Lz4Legacy {
            source,
            started: false,
            block: Vec::new(),
            position: 0,
        }
    }

    /// The next block, or an empty one at the end.
    fn next_block(&mut self) -> io::Result<()> {
        self.block.clear();
        self.position = 0;
        if self.source.is_empty() && self.started {
            return Ok(());
        }
        let mut word = [0; 4];
        self.source.read_exact(&mut word)?;
        if !self.started {
            self.started = true;
            if Format::detect(&word) != Some(Format::Lz4Legacy) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "no magic number",
                ));
            }
            return self.next_block();
        }
        let size = u32::from_le_bytes(word) as usize;
        if size == 0 || size > lz4_flex::block::get_maximum_output_size(Self::BLOCK_SIZE) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a block can't have {size} bytes"),
            ));
        }
        let Some((block, rest)) = self.source.split_at_checked(size) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        *self.source = rest;
        self.block.resize(Self::BLOCK_SIZE, 0);
        let size = lz4_flex::block::decompress_into(block, &mut self.block)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        self.block.truncate(size);
        Ok(())
    }
}

impl Read for Lz4Legacy<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let size = available.len().min(into.len());
        into[..size].copy_from_slice(&available[..size]);
        self.consume(size);
        Ok(size)
    }
}

impl BufRead for Lz4Legacy<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // An empty block doesn't end the stream, so that it can't end it early either.
        while self.position == self.block.len() && !(self.started && self.source.is_empty()) {
            self.next_block()?;
        }
        Ok(&self.block[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.block.len());
    }
}

/// Zstandard with its content checksum looked at, which the decoder leaves to its caller.
struct ZstdChecked<R: Read> {
    decoder: Option<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: Read> Read for ZstdChecked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(0);
        };
        let size = decoder.read(into)?;
        if size == 0 && !into.is_empty() {
            let frame = &decoder.decoder;
            let stored = frame.get_checksum_from_data();
            if stored.is_some() && stored != frame.get_calculated_checksum() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its checksum is wrong",
                ));
            }
            self.decoder = None;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    const LIMIT: u64 = 64 << 20;

    /// Something with repetitions and with enough x86-looking calls for the BCJ filter to act on.
    fn sample(size: usize) -> Vec<u8> {
        let mut state = 1u32;
        (0..size)
            .map(|i| {
                state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
                match i % 16 {
                    0 => 0xe8,
                    1..5 => (state >> 29) as u8,
                    n => n as u8,
                }
            })
            .collect()
    }

    /// Runs a compressor of the system; `None`, with a message, where it isn't installed.
    fn compressed_by(command: &[&str], input: &[u8]) -> Option<Vec<u8>> {
        let child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("skipped: {} is not installed", command[0]);
            return None;
        };
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success());
        Some(output.stdout)
    }

    /// The commands of the kernel's build (scripts/Makefile.lib), one per form.
    const TOOLS: [(&[&str], Format); 6] = [
        (&["gzip", "-n", "-f", "-9"], Format::Gzip),
        (&["bzip2", "-9"], Format::Bzip2),
        (&["xz", "--format=lzma", "-9"], Format::Lzma),
        (
            &["xz", "--check=crc32", "--x86", "--lzma2=,dict=32MiB"],
            Format::Xz,
        ),
        (&["lz4", "-l", "-9", "-c"], Format::Lz4Legacy),
        (&["zstd", "-22", "--ultra", "-c"], Format::Zstd),
    ];

    #[test]
    fn what_the_kernels_build_compresses_comes_out_again() {
        for (tool, format) in TOOLS {
            // More than one block of each form; those of LZ4 have 8 MiB.
            let size = if format == Format::Lz4Legacy {
                17 << 20
            } else {
                1 << 20
            };
            let input = sample(size + 123);
            let Some(data) = compressed_by(tool, &input) else {
                continue;
            };
            assert_eq!(Format::detect(&data), Some(format));
            let output =
                decompress(format, &data, 0, LIMIT).unwrap_or_else(|e| panic!("{format}: {e}"));
            assert!(output == input, "{format}: other bytes came out");
        }
    }

    #[test]
    fn the_source_stands_behind_the_data_where_the_end_can_be_told() {
        let input = sample(100_000);
        for (tool, format) in TOOLS {
            let Some(mut data) = compressed_by(tool, &input) else {
                continue;
            };
            if matches!(format, Format::Lzma | Format::Lz4Legacy) {
                continue;
            }
            data.extend_from_slice(b"what follows");
            let mut source = &data[..];
            let mut output = Vec::new();
            decoder(format, &mut source)
                .unwrap()
                .read_to_end(&mut output)
                .unwrap();
            assert!(output == input);
            assert_eq!(source, b"what follows", "{format}");
        }
    }

    #[test]
    fn truncated_data_is_called_truncated() {
        let input = sample(300_000);
        for (tool, format) in TOOLS {
            let Some(data) = compressed_by(tool, &input) else {
                continue;
            };
            for keep in [data.len() - 1, data.len() / 2, 20] {
                assert_eq!(
                    decompress(format, &data[..keep], 0, LIMIT),
                    Err(DecompressError::Truncated(format)),
                    "{format}, {keep} of {} bytes",
                    data.len()
                );
            }
        }
    }

    #[test]
    fn no_more_comes_out_than_the_limit() {
        let input = vec![0; 20 << 20];
        for (tool, format) in TOOLS {
            let Some(data) = compressed_by(tool, &input) else {
                continue;
            };
            let limit = input.len() as u64;
            assert_eq!(
                decompress(format, &data, 0, limit - 1),
                Err(DecompressError::TooLarge {
                    format,
                    limit: limit - 1
                })
            );
            assert!(decompress(format, &data, 0, limit).unwrap() == input);
        }
    }

    #[test]
    fn damaged_data_is_an_error_or_other_bytes_but_never_a_panic() {
        let input = sample(20_000);
        for (tool, format) in TOOLS {
            let Some(data) = compressed_by(tool, &input) else {
                continue;
            };
            let mut state = 7u64;
            for _ in 0..300 {
                let mut damaged = data.clone();
                for _ in 0..3 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let at = (state >> 33) as usize % damaged.len();
                    damaged[at] ^= 1 << (state >> 61);
                }
                if let Ok(output) = decompress(format, &damaged, 0, 1 << 20) {
                    assert!(output.len() <= 1 << 20);
                }
            }
        }
    }

    #[test]
    fn a_dictionary_beyond_the_limit_is_refused_before_it_is_allocated() {
        // LZMA alone: properties, dictionary size FFFF0000h, size unknown.
        let mut data = vec![0x5d];
        data.extend_from_slice(&0xffff_0000u32.to_le_bytes());
        data.extend_from_slice(&[0xff; 8]);
        data.extend_from_slice(&[0; 32]);
        assert!(decompress(Format::Lzma, &data, 0, LIMIT).is_err());
    }

    #[test]
    fn legacy_blocks_must_have_a_possible_size() {
        let block = lz4_flex::block::compress(b"abcabcabcabcabc");
        let mut data = vec![0x02, 0x21, 0x4c, 0x18];
        data.extend_from_slice(&(block.len() as u32).to_le_bytes());
        data.extend_from_slice(&block);
        let once = decompress(Format::Lz4Legacy, &data, 0, LIMIT).unwrap();
        assert_eq!(once, b"abcabcabcabcabc");
        let mut zero = data.clone();
        zero.extend_from_slice(&[0; 4]);
        assert!(matches!(
            decompress(Format::Lz4Legacy, &zero, 0, LIMIT),
            Err(DecompressError::Corrupt { .. })
        ));
        data.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            decompress(Format::Lz4Legacy, &data, 0, LIMIT),
            Err(DecompressError::Corrupt { .. })
        ));
    }

    #[test]
    fn lzo_is_known_but_not_offered() {
        assert_eq!(Format::detect(b"\x89LZO\0\r\n"), Some(Format::Lzo));
        assert_eq!(
            decompress(Format::Lzo, b"\x89LZO\0\r\n", 0, LIMIT),
            Err(DecompressError::Unsupported(Format::Lzo))
        );
    }
}
