//! Rates and bursts: units, bounds and the burst that a rate gets when none is given.

use super::diagnostic::Wrong;

/// Lowest rate of a cap, in bits a second.
pub const MIN_RATE: u64 = 1_000;
/// Highest rate of a cap, in bits a second: the fastest ports that servers have.
pub const MAX_RATE: u64 = 400_000_000_000;
/// Largest burst, in bytes: 20 ms of the highest rate, 200 ms of 40 Gbps.
pub const MAX_BURST: u64 = 1_000_000_000;

/// Units of a rate, in bits a second.
const RATES: [(&str, u64); 4] = [("bps", 1), ("kbps", 1_000), ("Mbps", 1_000_000), ("Gbps", 1_000_000_000)];
/// Units of a burst, in bytes.
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// Depth of a cap's bucket where the document names none, in bytes.
///
/// It is 200 ms of the rate: a TCP sender that lost a whole window is silent for its smallest retransmission timeout (200 ms
/// on Linux), and a bucket that fills in less than that throws away what the sender did not use. At least it is ten packets
/// of the MTU, and at most [`MAX_BURST`].
pub const fn default_burst(rate: u64, mtu: u16) -> u64 {
    let timeout = rate / 8 / 5;
    let ten_packets = 10 * mtu as u64;
    let burst = if timeout > ten_packets { timeout } else { ten_packets };
    if burst < MAX_BURST { burst } else { MAX_BURST }
}

/// A rate such as `500Mbps`, in bits a second.
pub(super) fn rate(text: &str) -> Result<u64, Wrong> {
    const HELP: &str = "write a number and bps, kbps, Mbps or Gbps, such as 500Mbps";
    let bits = quantity(text, &RATES, "a rate", HELP)?;
    if bits < MIN_RATE {
        let help = "the lowest is 1kbps; to stop traffic, set `enabled: false` on the virtual interface";
        return Err(Wrong { message: format!("the rate {text} is too low"), help: help.into() });
    }
    if bits > MAX_RATE {
        let help = "the highest is 400Gbps; leave `bandwidth` out for no limit".into();
        return Err(Wrong { message: format!("the rate {text} is too high"), help });
    }
    Ok(bits)
}

/// A size such as `2MB`, in bytes.
pub(super) fn burst(text: &str) -> Result<u64, Wrong> {
    const HELP: &str = "write a number and B, kB, MB, KiB or MiB, such as 2MB";
    let bytes = quantity(text, &SIZES, "a burst", HELP)?;
    if bytes > MAX_BURST {
        let help = "the largest is 1000MB, 20 ms of 400Gbps".into();
        return Err(Wrong { message: format!("the burst {text} is too large"), help });
    }
    Ok(bytes)
}

/// A decimal number and its unit, in the smallest unit.
fn quantity(text: &str, units: &[(&str, u64)], what: &str, help: &str) -> Result<u64, Wrong> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let wrong = |message: String, help: String| Wrong { message, help };
    if number.is_empty() {
        return Err(wrong(format!("`{text}` is not {what}"), help.into()));
    }
    if unit.is_empty() {
        return Err(wrong(format!("`{text}` has no unit"), help.into()));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let near = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
        let help = near.map_or(help.to_owned(), |(name, _)| format!("write {number}{name}"));
        return Err(wrong(format!("`{unit}` is not a unit of {what}"), help));
    };
    decimal(number, *factor)
        .ok_or_else(|| wrong(format!("`{text}` is not a whole number of {}", units[0].0), help.into()))
}

/// A decimal number times a factor, if that is a whole number of 64 bits.
fn decimal(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(a, b)| (a, Some(b)));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let Some(fraction) = fraction else { return Some(whole) };
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = fraction.parse::<u64>().ok()?.checked_mul(factor)?;
    if parts % scale == 0 { whole.checked_add(parts / scale) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_bursts_have_units() {
        let rates =
            [("1kbps", 1_000), ("500Mbps", 500_000_000), ("1.5Gbps", 1_500_000_000), ("400Gbps", MAX_RATE)];
        for (text, want) in rates {
            assert_eq!(rate(text), Ok(want), "{text}");
        }
        let bursts = [("0B", 0), ("2MB", 2_000_000), ("1.5kB", 1_500), ("64KiB", 65_536), ("1MiB", 1 << 20)];
        for (text, want) in bursts {
            assert_eq!(burst(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_rate_says_what_is() {
        let rows = [
            ("500", "`500` has no unit", "such as 500Mbps"),
            ("fast", "`fast` is not a rate", "such as 500Mbps"),
            ("", "`` is not a rate", "such as 500Mbps"),
            ("-5Mbps", "`-5Mbps` is not a rate", "such as 500Mbps"),
            ("500 Mbps", "` Mbps` is not a unit of a rate", "write 500Mbps"),
            ("500mbps", "`mbps` is not a unit of a rate", "write 500Mbps"),
            ("500MB", "`MB` is not a unit of a rate", "such as 500Mbps"),
            ("1.5bps", "`1.5bps` is not a whole number of bps", "such as 500Mbps"),
            ("1.2.3Mbps", "`1.2.3Mbps` is not a whole number of bps", "such as 500Mbps"),
            ("1.Mbps", "`1.Mbps` is not a whole number of bps", "such as 500Mbps"),
            ("99999999999999999999Gbps", "is not a whole number", "such as 500Mbps"),
            ("0Mbps", "the rate 0Mbps is too low", "`enabled: false`"),
            ("999bps", "the rate 999bps is too low", "the lowest is 1kbps"),
            ("401Gbps", "the rate 401Gbps is too high", "the highest is 400Gbps"),
        ];
        for (text, message, help) in rows {
            let wrong = rate(text).unwrap_err();
            assert!(wrong.message.contains(message) && wrong.help.contains(help), "{text}: {wrong:?}");
        }
        assert!(burst("1001MB").is_err_and(|wrong| wrong.message.contains("too large")));
        assert!(burst("2Mb").is_err_and(|wrong| wrong.help == "write 2MB"));
    }

    #[test]
    fn the_default_burst_is_200_ms_but_at_least_ten_packets() {
        for (rate, mtu, want) in [
            (500_000_000, 1500, 12_500_000),
            (1_000, 1500, 15_000),
            (600_000, 1500, 15_000),
            (600_040, 1500, 15_001),
            (MAX_RATE, 1500, MAX_BURST),
        ] {
            assert_eq!(default_burst(rate, mtu), want, "{rate} {mtu}");
        }
    }
}
