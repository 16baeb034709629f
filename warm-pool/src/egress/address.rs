//! Which addresses a function may be led to.
//!
//! Public ones, and those of ranges that the operator named. The judgement is about the address itself: one that carries an IPv4 address inside, in
//! whichever form, is judged as that one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses, written as `10.1.0.0/16` or `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// What stands before the slash, or all of it, is no address.
    #[error("{0:?} is no range of addresses; write for example 10.1.0.0/16")]
    Address(String),
    /// The length of the prefix is no number, or more than the address has bits.
    #[error("{0:?} has a prefix that is no number from 0 to {1}")]
    Prefix(String, u8),
    /// Bits of the address behind the prefix are set: one of the two is a slip.
    #[error("{0:?} has bits behind its prefix; the range would begin at {1}")]
    Bits(String, IpAddr),
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address(text.to_owned()))?;
        let width = width(address);
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|prefix| *prefix <= width)
                .ok_or_else(|| CidrError::Prefix(text.to_owned(), width))?,
            Some(_) => return Err(CidrError::Prefix(text.to_owned(), width)),
        };
        let network = masked(address, prefix);
        if network != address {
            return Err(CidrError::Bits(text.to_owned(), network));
        }
        Ok(Cidr { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl Cidr {
    /// Whether `address` lies in the range. An IPv4 address and the same in IPv6 are one.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = match self.network {
            IpAddr::V4(_) => carried(address),
            IpAddr::V6(_) => address,
        };
        width(address) == width(self.network) && masked(address, self.prefix) == self.network
    }
}

/// Whether a function may be connected to `address`: it is public, or lies in one of the ranges `allowed`.
pub(crate) fn may_reach(address: IpAddr, allowed: &[Cidr]) -> bool {
    is_public(address) || allowed.iter().any(|range| range.holds(address))
}

/// Whether an address is one of the public internet. By the registries of special addresses (IANA, RFC 6890 and later): not the machine itself, no
/// private network, no link, no metadata service, no group, nothing that is reserved.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match carried(address) {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        // Metadata services of clouds among them.
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network; carriers' networks; protocol assignments; 6to4 relays; benchmarks; reserved, and broadcast.
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240
        // The metadata and platform address of one cloud, though public by its number.
        || address == Ipv4Addr::new(168, 63, 129, 16))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Of all that is not reserved, only 2000::/3 is given out. Of that: protocol assignments with Teredo in it, documentation.
    a & 0xe000 == 0x2000 && !(a == 0x2001 && b < 0x200) && !(a == 0x2001 && b == 0xdb8) && !(a == 0x3fff && b < 0x1000)
}

/// The IPv4 address that a translator, a tunnel or the kernel takes out of an IPv6 address, else the address itself.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // Mapped, and translated by SIIT.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        // NAT64 by its well-known prefix. Those of local use are not public.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_form() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
        ] {
            assert!(!is_public(ip(text)), "{text}");
            for form in [
                format!("::ffff:{text}"),
                format!("::ffff:0:{text}"),
                format!("64:ff9b::{text}"),
            ] {
                assert!(!is_public(ip(&form)), "{form}");
            }
        }
        for text in [
            "::",
            "::1",
            "::10.0.0.1",
            "::8.8.8.8",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fdff::1",
            "fd00:ec2::254",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "4000::1",
            "64:ff9b:1::a00:1",
            "5f00::1",
        ] {
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn what_is_public_is_let_through() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn a_range_is_written_whole_and_holds_both_forms() {
        let range: Cidr = "10.1.0.0/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.1.0.0/16");
        for (text, inside) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.0", false),
            ("::1", false),
        ] {
            assert_eq!(range.holds(ip(text)), inside, "{text}");
            assert_eq!(may_reach(ip(text), &[range]), inside, "{text}");
        }
        assert!("::/0".parse::<Cidr>().unwrap().holds(ip("fe80::1")));
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().holds(ip("127.0.0.1")));
        assert!("127.0.0.1".parse::<Cidr>().unwrap().holds(ip("127.0.0.1")));
        assert!(!"127.0.0.1".parse::<Cidr>().unwrap().holds(ip("127.0.0.2")));
    }

    #[test]
    fn each_slip_in_a_range_is_named() {
        let error = |text: &str| text.parse::<Cidr>().unwrap_err();
        for text in ["", "/8", "10.0.0/8", "localhost", "10.0.0.0/8/8x"] {
            assert!(
                matches!(error(text), CidrError::Address(_) | CidrError::Prefix(..)),
                "{text}"
            );
        }
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "::/x",
            "10.0.0.0/999",
        ] {
            assert!(matches!(error(text), CidrError::Prefix(..)), "{text}");
        }
        assert!(matches!(error("10.0.0.1/8"), CidrError::Bits(_, at) if at == ip("10.0.0.0")));
    }

    proptest! {
        #[test]
        fn an_address_carried_in_another_is_judged_as_itself(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let public = is_public(IpAddr::V4(v4));
            prop_assert_eq!(is_public(IpAddr::V6(v4.to_ipv6_mapped())), public);
            let nat64 = Ipv6Addr::from((0x64_ff9b_u128 << 96) | u128::from(bits));
            prop_assert_eq!(is_public(IpAddr::V6(nat64)), public);
            prop_assert!(!(public && (v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified())));
        }

        #[test]
        fn no_address_outside_of_what_is_given_out_is_public(bits: u128) {
            let v6 = Ipv6Addr::from(bits);
            if !matches!(v6.segments()[0], 0x2000..=0x3fff) && carried(IpAddr::V6(v6)) == IpAddr::V6(v6) {
                prop_assert!(!is_public(IpAddr::V6(v6)));
            }
        }

        #[test]
        fn a_range_holds_its_own_network_and_reads_its_own_words(bits: u32, prefix in 0u8..=32) {
            let network = masked(IpAddr::V4(Ipv4Addr::from(bits)), prefix);
            let range: Cidr = format!("{network}/{prefix}").parse().unwrap();
            prop_assert!(range.holds(network) && range.holds(IpAddr::V4(Ipv4Addr::from(bits))));
            prop_assert_eq!(range.to_string().parse::<Cidr>().unwrap(), range);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _read = text.parse::<Cidr>();
        }
    }
}
