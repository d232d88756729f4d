//! The first file system of a virtual machine: an archive in the kernel's form (`newc`,
//! Documentation/driver-api/early-userspace/buffer-format.rst), with what is needed until the root is mounted.

/// Kinds and permissions of what is in it (`st_mode`).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
/// Name of the entry behind the last.
const END: &str = "TRAILER!!!";
/// Everything begins at a multiple of this.
const ALIGNMENT: usize = 4;

/// An archive that grows.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory, behind the one that it is in.
    pub(super) fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, &[]);
    }

    /// Adds a file that may be executed.
    pub(super) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, PROGRAM, contents);
    }

    /// The whole archive.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let (links, length, name_length) = (1, contents.len() as u32, name.len() as u32 + 1);
        // Number, mode, user, group, links, time; length; device and its own, each in two parts; length of the name; check sum.
        let head = [self.entries, mode, 0, 0, links, 0, length, 0, 0, 0, 0, name_length, 0];
        self.bytes.extend(b"070701");
        for number in head {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_one_another_each_with_its_head_and_aligned() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("init", b"#!/x\n");
        let bytes = archive.end();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.starts_with("0707010000000"), "{text}");
        let at = |words: &str| text.find(words).unwrap();
        assert_eq!(at("bin\0"), 110, "behind six bytes and thirteen numbers of eight");
        let second = text[6..].find("070701").unwrap() + 6;
        assert_eq!(second, 116, "110 + 4, aligned");
        assert_eq!(&text[second + 14..second + 22], "000081ed", "a file that may be executed");
        assert_eq!(&text[second + 54..second + 62], "00000005", "its length");
        assert_eq!(at("#!/x\n") % ALIGNMENT, 0);
        assert!(text.trim_end_matches('\0').ends_with(END) && bytes.len() % ALIGNMENT == 0);
    }
}
