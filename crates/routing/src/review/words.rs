//! Numbers as people read them.

/// Dollars: `$0`, `$0.0035`, `$12.30`, `$1,204.50`; what is less than a hundredth of a cent is said to be that.
pub fn dollars(usd: f64) -> String {
    match usd {
        0.0 => "$0".to_owned(),
        usd if usd < 0.0 => format!("-{}", dollars(-usd)),
        usd if usd < 0.000_1 => "<$0.0001".to_owned(),
        usd if usd < 1.0 => format!("${usd:.4}"),
        usd => {
            let cents = (usd * 100.0).round() as u64;
            format!("${}.{:02}", count(cents / 100), cents % 100)
        }
    }
}

/// A whole number with its thousands apart: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things: `1 task`, `12 tasks`.
pub fn things(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number))
}

/// A share as whole percent; what is neither none nor all never reads as if it were.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        some if some > 0.0 && some < 1.0 => "<1 %".to_owned(),
        some if some > 99.0 && some < 100.0 => ">99 %".to_owned(),
        some => format!("{some:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [0.0, 0.000_01, 0.003_5, 12.3, 1_204.499, -2.0].map(dollars);
        assert_eq!(shown, ["$0", "<$0.0001", "$0.0035", "$12.30", "$1,204.50", "-$2.00"]);
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!(
            [percent(0.0), percent(0.001), percent(0.5), percent(0.998)],
            ["0 %", "<1 %", "50 %", ">99 %"]
        );
        assert_eq!([things(1, "task"), things(2_000, "task")], ["1 task", "2,000 tasks"]);
    }
}
