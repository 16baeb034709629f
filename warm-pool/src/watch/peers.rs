//! Classes of addresses, as rules name them.

use std::net::{IpAddr, Ipv6Addr};

use sandbox::Peer;
use serde::{Deserialize, Serialize};

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// Of the sandbox itself; the unspecified address means the same.
    Loopback,
    /// Of a network that is not routed between all: private, shared, link-local (the metadata service of clouds among them), multicast.
    Private,
    /// Any other.
    Public,
    /// A unix socket.
    Unix,
    /// Of another family, or one that could not be read. One that only ends a connection (`AF_UNSPEC`) has no class.
    Other,
}

/// The class of a peer.
pub(super) fn class(peer: &Peer) -> Option<Class> {
    match peer {
        Peer::Inet(address) => Some(class_of(address.ip())),
        Peer::Unix(_) => Some(Class::Unix),
        Peer::Other(0) => None,
        Peer::Other(_) | Peer::Unread => Some(Class::Other),
    }
}

fn class_of(ip: IpAddr) -> Class {
    match ip.to_canonical() {
        ip if ip.is_loopback() || ip.is_unspecified() => Class::Loopback,
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && (64..128).contains(&second);
            let local = ip.is_private() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || first == 0;
            if shared || local { Class::Private } else { Class::Public }
        }
        IpAddr::V6(ip) => {
            if ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast() || nat64_of_private(ip) {
                Class::Private
            } else {
                Class::Public
            }
        }
    }
}

/// Whether it stands for a private IPv4 address behind the well-known prefix of NAT64 (64:ff9b::/96, RFC 6052).
fn nat64_of_private(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            class_of(IpAddr::from([a, b, c, d])) != Class::Public
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_class_of_their_network() {
        for (text, expected) in [
            ("127.0.0.1", Class::Loopback),
            ("127.9.9.9", Class::Loopback),
            ("0.0.0.0", Class::Loopback),
            ("::1", Class::Loopback),
            ("::", Class::Loopback),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("10.1.2.3", Class::Private),
            ("172.16.0.1", Class::Private),
            ("192.168.1.1", Class::Private),
            ("169.254.169.254", Class::Private),
            ("100.64.0.1", Class::Private),
            ("224.0.0.1", Class::Private),
            ("fd00::1", Class::Private),
            ("fe80::1", Class::Private),
            ("::ffff:10.0.0.1", Class::Private),
            ("64:ff9b::a00:1", Class::Private),
            ("64:ff9b::102:304", Class::Public),
            ("1.2.3.4", Class::Public),
            ("100.128.0.1", Class::Public),
            ("2606:4700::1", Class::Public),
        ] {
            assert_eq!(class_of(text.parse().unwrap()), expected, "{text}");
        }
        assert_eq!(class(&Peer::Unix("/x".into())), Some(Class::Unix));
        assert_eq!(
            (class(&Peer::Other(0)), class(&Peer::Unread)),
            (None, Some(Class::Other))
        );
    }
}
