//! Proxies before this server: which of them are believed, and where a request behind them comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::model::Refusal;
use crate::model::code::ErrorCode;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Where proxies are whose `X-Forwarded-…` headers are believed: an address, as in `10.1.2.3`, or a network, as in
/// `10.0.0.0/8` or `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = Refusal;

    /// # Errors
    ///
    /// Code 1009 for what is neither an address nor a network.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
        let network = text.parse::<IpNet>().ok().or_else(address);
        network.map(Self).ok_or_else(|| {
            let message =
                format!("{text:?} is no address and no network; write it as in 10.1.2.3 or 10.0.0.0/8");
            Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
        })
    }
}

impl TrustedProxy {
    /// A proxy on this machine.
    fn loopback() -> [Self; 2] {
        let four = IpNet::new_assert(IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        [Self(four.trunc()), Self(IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)))]
    }
}

/// The proxies of a server.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<TrustedProxy>,
    /// Whether there is a proxy at all.
    expected: bool,
    /// One that is not trusted was told of.
    warned: AtomicBool,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress {
    /// The address of the client, as far as the proxies that are trusted can tell.
    pub(super) address: IpAddr,
    /// Whether it came through a proxy that is trusted: its other headers are believed too.
    pub(super) through_proxy: bool,
}

impl Proxies {
    /// Those that are trusted; where none is named and there is one, those of this machine.
    pub(super) fn new(behind_proxy: bool, named: &[TrustedProxy]) -> Self {
        let trusted = match named {
            [] if behind_proxy => TrustedProxy::loopback().to_vec(),
            named => named.to_vec(),
        };
        Self { expected: !trusted.is_empty(), trusted, warned: AtomicBool::new(false) }
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|proxy| proxy.0.contains(&address))
    }

    /// Where a request of this peer comes from. Each proxy adds whom it heard from at the end of `X-Forwarded-For`, so the
    /// list is read from its end for as long as the proxies are trusted; what stands before that anybody may have written.
    pub(super) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        if !self.trusts(peer) {
            if self.expected
                && headers.contains_key(FORWARDED_FOR)
                && !self.warned.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%peer, "the X-Forwarded headers of a proxy that is not trusted are ignored; if it is yours, give --trusted-proxy {peer}");
            }
            return ClientAddress { address: peer, through_proxy: false };
        }
        let mut address = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        for text in lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')) {
            let Some(before) = parse_address(text.trim()) else { break };
            address = before;
            if !self.trusts(before) {
                break;
            }
        }
        ClientAddress { address, through_proxy: true }
    }
}

/// An address, with a port or without.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        headers
    }

    fn proxies(named: &[&str]) -> Proxies {
        let named: Vec<TrustedProxy> = named.iter().map(|text| text.parse().unwrap()).collect();
        Proxies::new(true, &named)
    }

    #[test]
    fn forwarded_headers_are_read_from_trusted_proxies_only() {
        let proxies = proxies(&["10.0.0.0/8", "2001:db8::1"]);
        let origin = |peer: &str, lines: &[&str]| {
            let ClientAddress { address, through_proxy } = proxies.client_address(ip(peer), &headers(lines));
            (address.to_string(), through_proxy)
        };
        let of = |address: &str, through_proxy| (address.to_owned(), through_proxy);
        // Anybody else is where they are, whatever they say, this machine too.
        for peer in ["192.0.2.1", "127.0.0.1", "11.0.0.1", "2001:db8::2"] {
            assert_eq!(origin(peer, &["203.0.113.7"]), of(peer, false));
        }
        assert_eq!(origin("10.1.2.3", &["203.0.113.7"]), of("203.0.113.7", true));
        assert_eq!(origin("2001:db8::1", &["203.0.113.7:4711"]), of("203.0.113.7", true));
        assert_eq!(origin("::ffff:10.1.2.3", &["[2001:db8::77]:80"]), of("2001:db8::77", true));
        // What a client wrote itself stands before what the proxy added, in one line or in several.
        assert_eq!(origin("10.1.2.3", &["198.51.100.1, 203.0.113.7"]), of("203.0.113.7", true));
        assert_eq!(origin("10.1.2.3", &["198.51.100.1", "203.0.113.7"]), of("203.0.113.7", true));
        // Through several proxies.
        assert_eq!(origin("10.1.2.3", &["198.51.100.1, 203.0.113.7, 10.9.9.9"]), of("203.0.113.7", true));
        // A client within the network of the proxies, and what is no address.
        assert_eq!(origin("10.1.2.3", &["10.7.7.7"]), of("10.7.7.7", true));
        assert_eq!(origin("10.1.2.3", &["203.0.113.7, unknown"]), of("10.1.2.3", true));
        assert_eq!(origin("10.1.2.3", &[]), of("10.1.2.3", true));
    }

    #[test]
    fn loopback_is_the_default_proxy() {
        let behind = Proxies::new(true, &[]);
        for (peer, trusted) in
            [("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("10.0.0.1", false), ("::2", false)]
        {
            assert_eq!(behind.trusts(ip(peer)), trusted, "{peer}");
        }
        assert!(!Proxies::new(false, &[]).trusts(ip("127.0.0.1")));
        let named = Proxies::new(true, &["10.0.0.1".parse().unwrap()]);
        assert!(!named.trusts(ip("127.0.0.1")) && named.trusts(ip("10.0.0.1")));
    }

    #[test]
    fn proxies_are_parsed_as_addresses_or_networks() {
        for text in ["10.1.2.3", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0", "::ffff:10.0.0.1"] {
            assert!(text.parse::<TrustedProxy>().is_ok(), "{text}");
        }
        for text in ["", "proxy", "10.0.0", "10.0.0.0/33", "10.0.0.1:80", "*", "10.0.0.0/8,::1"] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
