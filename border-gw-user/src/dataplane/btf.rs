//! The little of the kernel's type information (BTF) that is needed: offsets of members, and arguments of tracepoints.
//!
//! The format is that of Documentation/bpf/btf.rst.

use std::collections::HashMap;

/// Kinds of types that are looked into; the numbers are the format's.
mod kind {
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const CONST: u32 = 10;
    pub(super) const FUNC_PROTO: u32 = 13;
}

/// Bytes that follow a type of a kind with so many parts.
fn trailing(kind: u32, parts: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | 15 | 19 => parts * 12,
        6 | kind::FUNC_PROTO => parts * 8,
        kind::PTR | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

const HEADER: usize = 24;
const TYPE: usize = 12;

/// One type: its head, and where its parts are.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    parts: usize,
    /// Offsets of members have a width of bit fields in their upper byte.
    has_bit_fields: bool,
    /// The type that it refers to; its size where it refers to none.
    refers_to: u32,
    at: usize,
}

/// The types of a kernel.
pub(super) struct Btf<'a> {
    bytes: &'a [u8],
    strings: usize,
    /// By number; 0 is `void`, and the first here is 1.
    types: Vec<Type>,
    by_name: HashMap<&'a [u8], Vec<usize>>,
}

impl<'a> Btf<'a> {
    /// Of the contents of /sys/kernel/btf/vmlinux; none where they are not what the format says.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        const MAGIC: u32 = 0xeb9f;
        let half = |at: usize| Some(u32::from(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
        if half(0)? != MAGIC {
            return None;
        }
        let [header, types, len, strings] = [4, 8, 12, 16].map(|at| word(bytes, at));
        let header = (header? as usize).max(HEADER);
        let mut btf =
            Self { bytes, strings: header + strings? as usize, types: Vec::new(), by_name: HashMap::new() };
        let mut at = header + types? as usize;
        let end = at + len? as usize;
        while at < end {
            let (name, info, refers_to) = (word(bytes, at)?, word(bytes, at + 4)?, word(bytes, at + 8)?);
            let (kind, parts) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let has_bit_fields = info >> 31 == 1;
            btf.types.push(Type { name, kind, parts, has_bit_fields, refers_to, at: at + TYPE });
            at += TYPE + trailing(kind, parts)?;
        }
        for index in 0..btf.types.len() {
            let name = btf.name(btf.types[index].name)?;
            btf.by_name.entry(name).or_default().push(index);
        }
        Some(btf)
    }

    /// Where a member of a structure is, in bytes.
    pub(super) fn member(&self, structure: &str, member: &str) -> Option<u32> {
        let found = self.named(structure, kind::STRUCT)?;
        Some(self.bits(found, member)? / 8)
    }

    /// The arguments of a tracepoint, as short names: `net_device*`, `int`, `enum bpf_map_type`.
    pub(super) fn arguments(&self, tracepoint: &str) -> Option<Vec<String>> {
        let pointer = self.get(self.named(&format!("btf_trace_{tracepoint}"), kind::TYPEDEF)?.refers_to)?;
        let function = self.get(pointer.refers_to)?;
        if function.kind != kind::FUNC_PROTO {
            return None;
        }
        // The first is the tracepoint's own.
        (1..function.parts).map(|part| self.describe(word(self.bytes, function.at + part * 8 + 4)?)).collect()
    }

    fn bits(&self, of: Type, member: &str) -> Option<u32> {
        (0..of.parts).find_map(|part| {
            let at = of.at + part * 12;
            let (name, kind, offset) =
                (word(self.bytes, at)?, word(self.bytes, at + 4)?, word(self.bytes, at + 8)?);
            let offset = if of.has_bit_fields { offset & 0x00ff_ffff } else { offset };
            if name != 0 {
                return (self.name(name)? == member.as_bytes()).then_some(offset);
            }
            let inner = self.get(kind).filter(|inner| matches!(inner.kind, kind::STRUCT | kind::UNION))?;
            Some(offset + self.bits(inner, member)?)
        })
    }

    fn describe(&self, number: u32) -> Option<String> {
        let Some(found) = self.get(number) else { return (number == 0).then(|| "void".into()) };
        match found.kind {
            kind::CONST => self.describe(found.refers_to),
            kind::PTR => Some(self.describe(found.refers_to)? + "*"),
            _ => Some(String::from_utf8_lossy(self.name(found.name)?).into_owned()),
        }
    }

    fn get(&self, number: u32) -> Option<Type> {
        self.types.get((number as usize).checked_sub(1)?).copied()
    }

    fn named(&self, name: &str, kind: u32) -> Option<Type> {
        let indexes = self.by_name.get(name.as_bytes())?;
        indexes.iter().map(|index| self.types[*index]).find(|found| found.kind == kind)
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        self.bytes.get(self.strings + offset as usize..)?.split(|byte| *byte == 0).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types as words: 1 `int`, 2 `net` with `cookie` in an anonymous structure, 3 that one, 4 its pointer, 5 a function of
    /// it, 6 its pointer, 7 the typedef of a tracepoint.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0net\0cookie\0btf_trace_lost\0";
        let (int, net, cookie, lost) = (1, 5, 9, 16);
        let types: Vec<u32> = [
            vec![int, 1 << 24, 4, 32],
            vec![net, 4 << 24 | 1, 16, 0, 3, 64],
            vec![0, 4 << 24 | 2, 8, int, 1, 0, cookie, 1, 32],
            vec![0, 2 << 24, 2],
            vec![0, 13 << 24 | 3, 0, 0, 0, 0, 4, 0, 1],
            vec![0, 2 << 24, 5],
            vec![lost, 8 << 24, 6],
        ]
        .concat();
        let len = types.len() as u32 * 4;
        let header = [0x0001_eb9f, HEADER as u32, 0, len, len, strings.len() as u32];
        let words = header.into_iter().chain(types);
        words.flat_map(u32::to_ne_bytes).chain(strings.iter().copied()).collect()
    }

    #[test]
    fn members_and_arguments_are_found_and_nothing_else() {
        let bytes = sample();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.member("net", "cookie"), Some(12), "in an anonymous structure");
        assert_eq!(btf.member("net", "ifindex"), None);
        assert_eq!(btf.member("device", "cookie"), None);
        assert_eq!(btf.arguments("lost"), Some(vec!["net*".to_owned(), "int".to_owned()]));
        assert_eq!(btf.arguments("found"), None);
    }

    #[test]
    fn what_is_cut_or_no_type_information_is_refused() {
        let bytes = sample();
        assert!(Btf::parse(b"\0\0\0\0").is_none());
        for len in 0..HEADER + 12 {
            assert!(Btf::parse(&bytes[..len]).is_none(), "{len} bytes");
        }
    }
}
