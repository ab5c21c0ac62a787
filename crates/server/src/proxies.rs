//! Trusted reverse proxies, and the address of the client behind them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::HeaderMap;
use ipnet::IpNet;

use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A proxy whose `X-Forwarded-…` headers are trusted: an address, as in `10.1.2.3`, or a network, as in `10.0.0.0/8` or
/// `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = Refusal;

    /// # Errors
    ///
    /// Code 1009 if the text is neither an address nor a network.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
        let network = text.parse::<IpNet>().ok().or_else(address);
        network.map(Self).ok_or_else(|| {
            let message =
                format!("{text:?} is neither an address nor a network; examples are 10.1.2.3 and 10.0.0.0/8");
            Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
        })
    }
}

impl TrustedProxy {
    /// The loopback networks.
    fn loopback() -> [Self; 2] {
        let four = IpNet::new_assert(IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        [Self(four.trunc()), Self(IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)))]
    }
}

/// The trusted proxies of a server.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<TrustedProxy>,
    /// Whether a proxy is configured.
    expected: bool,
    /// Whether the warning about an untrusted proxy was logged.
    warned: AtomicBool,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress {
    /// The address of the client, as reported by the trusted proxies.
    pub(super) address: IpAddr,
    /// Whether it came through a trusted proxy, so that its other headers are trusted too.
    pub(super) through_proxy: bool,
}

impl Proxies {
    /// Uses the named proxies; without any, the loopback addresses if `behind_proxy` is set.
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

    /// The client of a request. Each proxy appends the address of its peer to `X-Forwarded-For`, so the list is read from its
    /// end while the addresses are trusted proxies; entries before that may be forged.
    pub(super) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        if !self.trusts(peer) {
            if self.expected
                && headers.contains_key(FORWARDED_FOR)
                && !self.warned.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%peer, "ignoring the X-Forwarded headers of an untrusted proxy; to trust it, use --trusted-proxy {peer}");
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

/// Parses an address with or without a port.
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
        let client = |peer: &str, lines: &[&str]| {
            let ClientAddress { address, through_proxy } = proxies.client_address(ip(peer), &headers(lines));
            (address.to_string(), through_proxy)
        };
        let of = |address: &str, through_proxy| (address.to_owned(), through_proxy);
        // The header of an untrusted peer is ignored, even from this machine.
        for peer in ["192.0.2.1", "127.0.0.1", "11.0.0.1", "2001:db8::2"] {
            assert_eq!(client(peer, &["203.0.113.7"]), of(peer, false));
        }
        assert_eq!(client("10.1.2.3", &["203.0.113.7"]), of("203.0.113.7", true));
        assert_eq!(client("2001:db8::1", &["203.0.113.7:4711"]), of("203.0.113.7", true));
        assert_eq!(client("::ffff:10.1.2.3", &["[2001:db8::77]:80"]), of("2001:db8::77", true));
        // An entry of the client itself comes before the one of the proxy, in one line or in several.
        assert_eq!(client("10.1.2.3", &["198.51.100.1, 203.0.113.7"]), of("203.0.113.7", true));
        assert_eq!(client("10.1.2.3", &["198.51.100.1", "203.0.113.7"]), of("203.0.113.7", true));
        // Through several proxies.
        assert_eq!(client("10.1.2.3", &["198.51.100.1, 203.0.113.7, 10.9.9.9"]), of("203.0.113.7", true));
        // A client within the network of the proxies, and an entry that is not an address.
        assert_eq!(client("10.1.2.3", &["10.7.7.7"]), of("10.7.7.7", true));
        assert_eq!(client("10.1.2.3", &["203.0.113.7, unknown"]), of("10.1.2.3", true));
        assert_eq!(client("10.1.2.3", &[]), of("10.1.2.3", true));
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
