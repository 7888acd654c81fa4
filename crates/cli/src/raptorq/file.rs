//! The packet file: 8 octets of magic, one of flags, 12 of transmission information, then packets;
//! and files that appear only when they are whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use asupersync_raptorq::{BlockShape, Oti, PayloadId, SymbolKey, TAG_BYTES};
use clap::Args;

use super::{CommandError, about};

const MAGIC: [u8; 8] = *b"ASRQPKT1";
const SEALED: u8 = 1;
pub(super) const HEADER_BYTES: usize = 21;

/// What stands before the packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) oti: Oti,
    pub(super) is_sealed: bool,
}

impl Header {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(if self.is_sealed { SEALED } else { 0 });
        out.extend(self.oti.to_bytes());
        out
    }

    /// Octets of each packet.
    pub(super) fn packet_bytes(self) -> usize {
        let tag = if self.is_sealed { TAG_BYTES } else { 0 };
        PayloadId::BYTES + usize::from(self.oti.fields().symbol_size) + tag
    }
}

/// A packet file, being read.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) header: Header,
    reader: BufReader<File>,
    path: PathBuf,
    packet: Vec<u8>,
}

impl Packets {
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let mut reader = BufReader::new(about(File::open(path), "open", path)?);
        let not = |reason| CommandError::NotPackets {
            path: path.to_owned(),
            reason,
        };
        let mut bytes = [0; HEADER_BYTES];
        reader
            .read_exact(&mut bytes)
            .map_err(|_| not("it is too short"))?;
        let Some((magic, rest)) = bytes.split_first_chunk() else {
            return Err(not("too short"));
        };
        let Some((&flags, oti)) = rest.split_first() else {
            return Err(not("too short"));
        };
        if *magic != MAGIC || flags > SEALED {
            return Err(not("it does not begin as one"));
        }
        let oti = oti.first_chunk().ok_or(not("too short"))?;
        let header = Header {
            oti: Oti::from_bytes(*oti)?,
            is_sealed: flags == SEALED,
        };
        let packet = vec![0; header.packet_bytes()];
        Ok(Self {
            header,
            reader,
            path: path.to_owned(),
            packet,
        })
    }

    /// The next packet; a last one that is cut short is left out.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, CommandError> {
        let mut at = 0;
        while at < self.packet.len() {
            let count = self.reader.read(&mut self.packet[at..]);
            match about(count, "read", &self.path)? {
                0 => return Ok(None),
                count => at += count,
            }
        }
        Ok(Some(&self.packet))
    }
}

/// A file that is written beside its place and moved there when it is whole, so that a failure
/// leaves no half of it, and a file of that name stays until then.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    place: PathBuf,
}

impl Partial {
    pub(super) fn create(place: &Path) -> Result<Self, CommandError> {
        // A device or a folder would be replaced, or not, by the last step.
        if place.metadata().is_ok_and(|found| !found.is_file()) {
            let path = place.to_owned();
            return Err(CommandError::NoFile { path });
        }
        let mut path = place.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        Ok(Self {
            file: about(File::create(&path), "create", &path)?,
            path,
            place: place.to_owned(),
        })
    }

    pub(super) fn set_len(&self, len: u64) -> Result<(), CommandError> {
        about(self.file.set_len(len), "extend", &self.path)
    }

    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), CommandError> {
        let sought = self.file.seek(SeekFrom::Start(offset));
        about(
            sought.and_then(|_| self.file.write_all(bytes)),
            "write",
            &self.path,
        )
    }

    pub(super) fn finish(self) -> Result<(), CommandError> {
        about(
            std::fs::rename(&self.path, &self.place),
            "rename",
            &self.path,
        )
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `finish` nothing is there; else the first error is the one to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads a key of 32 octets.
pub(super) fn key(path: Option<&Path>) -> Result<Option<SymbolKey>, CommandError> {
    let Some(path) = path else { return Ok(None) };
    let bytes = about(std::fs::read(path), "read", path)?;
    let error = CommandError::Key {
        path: path.to_owned(),
        actual: bytes.len(),
    };
    let key = bytes.try_into().map_err(|_| error)?;
    Ok(Some(SymbolKey::new(key)))
}

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct InfoOptions {
    /// The packet file.
    packets: PathBuf,
}

/// Shows the transmission information, and how many packets each block has.
pub(super) fn info(options: &InfoOptions) -> Result<(), CommandError> {
    let mut packets = Packets::open(&options.packets)?;
    let header = packets.header;
    let fields = header.oti.fields();
    let mut counts = vec![0_u32; fields.source_blocks.into()];
    let mut foreign = 0_u32;
    while let Some(packet) = packets.next()? {
        match counts.get_mut(usize::from(packet[0])) {
            Some(count) => *count += 1,
            None => foreign += 1,
        }
    }
    say!("object          {} octets", fields.transfer_length);
    say!(
        "symbols         {} of {} octets",
        header.oti.symbols(),
        fields.symbol_size
    );
    say!("source blocks   {}", fields.source_blocks);
    say!(
        "sub-blocks      {}, aligned to {}",
        fields.sub_blocks,
        fields.alignment
    );
    say!(
        "sealed          {}",
        if header.is_sealed { "yes" } else { "no" }
    );
    for (number, count) in (0..).zip(&counts) {
        let Some(shape) = BlockShape::of(&header.oti, number) else {
            continue;
        };
        say!(
            "block {number:<3}       {count} packets for {} symbols",
            shape.symbols()
        );
    }
    if foreign > 0 {
        say!("{foreign} packets name a block that the object does not have");
    }
    Ok(())
}
