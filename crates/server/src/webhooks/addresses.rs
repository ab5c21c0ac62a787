//! To which addresses events may be sent. A webhook is an address that a caller chooses and a server calls: without a limit it would be
//! a way into the network of the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet: none of this machine, of its network, or of a group.
pub(in super::super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_reserved = match (first, second, third) {
        (0, ..) => true,            // this network
        (100, 64..=127, _) => true, // shared by the customers of a provider
        (192, 0, 0) => true,        // protocols
        (192, 88, 99) => true,      // relays to IPv6
        (198, 18 | 19, _) => true,  // measurements
        (240..=255, ..) => true,    // reserved, and the broadcast
        _ => false,
    };
    !(is_reserved
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation())
}

/// Only what is allotted to the internet. An address that has an IPv4 address in it reaches that one, so the mapped ones are refused, and
/// a translated one is judged by it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    if parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [high, low] = [parts[6].to_be_bytes(), parts[7].to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(high[0], high[1], low[0], low[1]));
    }
    let is_allotted = parts[0] & 0xe000 == 0x2000;
    let is_special = match (parts[0], parts[1]) {
        (0x2001, 0..=0x1ff) => true, // protocols and tunnels
        (0x2001, 0xdb8) => true,     // documentation
        (0x2002, _) => true,         // tunnels with an IPv4 address in them
        (0x3fff, 0..=0xfff) => true, // documentation
        _ => false,
    };
    is_allotted && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in [
            "1.1.1.1",
            "93.184.215.14",
            "100.63.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:2800:21f::1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:1.1.1.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1.1.1.1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
