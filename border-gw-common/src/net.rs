//! Types that cannot hold a wrong value: MAC addresses, VNIs, VLAN identifiers, big-endian integers.

use core::fmt;
use core::str::FromStr;

/// An Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The broadcast address.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// True for group addresses, broadcast included (IEEE 802, the I/G bit).
    #[inline(always)]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// True for `00:00:00:00:00:00`.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// The IPv6 link-local address that this address makes (RFC 4291, appendix A: modified EUI-64).
    #[inline(always)]
    pub const fn link_local(self) -> [u8; 16] {
        let m = self.0;
        [0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text or number that is not a value of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for Invalid {}

impl FromStr for MacAddr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const WRONG: Invalid = Invalid("a MAC address is six bytes in hex, such as 02:00:5e:00:50:01");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(WRONG)?;
            *byte = u8::from_str_radix(part, 16).ok().ok_or(WRONG)?;
        }
        if parts.next().is_some() { Err(WRONG) } else { Ok(Self(bytes)) }
    }
}

/// A VXLAN network identifier, 0 to 16,777,215 (RFC 7348, section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vni {
    type Error = Invalid;

    fn try_from(value: u32) -> Result<Self, Invalid> {
        if value < 1 << 24 { Ok(Self(value)) } else { Err(Invalid("a VNI is a number from 0 to 16777215")) }
    }
}

/// A VLAN identifier that can name a VLAN, 1 to 4094 (IEEE 802.1Q, table 9-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanId(u16);

impl VlanId {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u32> for VlanId {
    type Error = Invalid;

    fn try_from(value: u32) -> Result<Self, Invalid> {
        match value {
            1..=4094 => Ok(Self(value as u16)),
            _ => Err(Invalid("a VLAN identifier is a number from 1 to 4094")),
        }
    }
}

/// A 16-bit integer in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Be16([u8; 2]);

impl Be16 {
    /// From host order.
    pub const fn new(value: u16) -> Self {
        Self(value.to_be_bytes())
    }

    /// In host order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The bytes, as on the wire.
    pub const fn bytes(self) -> [u8; 2] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_read_and_written_alike() {
        let text = "02:00:5e:00:50:01";
        assert_eq!(text.parse::<MacAddr>().unwrap().to_string(), text);
        for wrong in [
            "",
            "02:00:5e:00:50",
            "02:00:5e:00:50:01:02",
            "2:0:5e:0:50:1",
            "02-00-5e-00-50-01",
            "zz:00:5e:00:50:01",
        ] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_of_numbers_hold() {
        assert!(Vni::try_from(0xff_ffff).is_ok() && Vni::try_from(0x100_0000).is_err());
        assert!(VlanId::try_from(0).is_err() && VlanId::try_from(1).is_ok());
        assert!(VlanId::try_from(4094).is_ok() && VlanId::try_from(4095).is_err());
    }

    #[test]
    fn the_link_local_address_is_modified_eui_64() {
        let mac: MacAddr = "34:56:78:9a:bc:de".parse().unwrap();
        let want: core::net::Ipv6Addr = "fe80::3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(mac.link_local(), want.octets());
    }
}
