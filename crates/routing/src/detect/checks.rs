//! Check digits and entropy: arithmetic that tells a real number from digits that only look like one.

/// Luhn's digit (ISO/IEC 7812-1): payment cards and several national numbers.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit }))
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Whether these digits are a payment card's: issuer, length and Luhn digit.
pub(super) fn is_card(digits: &[u8]) -> bool {
    (12..=19).contains(&digits.len()) && known_issuer(digits) && luhn(digits) && !is_one_digit(digits)
}

fn known_issuer(digits: &[u8]) -> bool {
    let head = digits[..4].iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    match head {
        4000..=4999 => matches!(digits.len(), 13 | 16 | 18 | 19),
        5018 | 5020 | 5038 | 5600..=5899 | 6300..=6399 | 6700..=6799 => true,
        5100..=5599 | 2221..=2720 | 2200..=2204 => digits.len() == 16,
        3400..=3499 | 3700..=3799 => digits.len() == 15,
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => (14..=19).contains(&digits.len()),
        1800 | 2131 => digits.len() == 15,
        3500..=3599 | 6011 | 6200..=6299 | 6440..=6599 | 8100..=8171 => digits.len() >= 16,
        _ => false,
    }
}

fn is_one_digit(digits: &[u8]) -> bool {
    digits.iter().all(|digit| *digit == digits[0])
}

/// Length of each country's IBAN (ISO 13616 registry).
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16), (b"BG", 22),
    (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22), (b"CY", 28), (b"CZ", 24),
    (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18),
    (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27),
    (b"GT", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26), (b"IT", 27),
    (b"JO", 30), (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20), (b"LU", 20),
    (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20), (b"MR", 27),
    (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24), (b"PL", 28),
    (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24), (b"SC", 31),
    (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SO", 23), (b"ST", 25), (b"SV", 28),
    (b"TL", 23), (b"TN", 24), (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20), (b"YE", 30),
];

/// How long the IBAN of a country is; `None` where the country has none.
pub(super) fn iban_length(country: [u8; 2]) -> Option<usize> {
    IBAN_LENGTHS.iter().find(|(code, _)| **code == country).map(|(_, length)| *length)
}

/// The mod-97 check of ISO 7064 over capitals and digits, with the first four characters moved to the end.
pub(super) fn iban_mod_97(characters: &[u8]) -> bool {
    let rotated = characters.iter().cycle().skip(4).take(characters.len());
    let remainder = rotated.fold(0_u32, |remainder, character| match character {
        b'0'..=b'9' => (remainder * 10 + u32::from(character - b'0')) % 97,
        _ => (remainder * 100 + u32::from(character - b'A') + 10) % 97,
    });
    remainder == 1
}

/// Whether nine digits can be a social security number: no area 000, 666 or 9xx, no group 00, no serial 0000.
pub(super) fn us_ssn(digits: &[u8]) -> bool {
    let number = |part: &[u8]| part.iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    if digits.len() != 9 {
        return false;
    }
    let area = number(&digits[..3]);
    !matches!(area, 0 | 666 | 900..) && number(&digits[3..5]) > 0 && number(&digits[5..]) > 0
}

/// German tax identifier: eleven digits, one of the first ten twice or three times, ISO 7064 mod 11,10.
pub(super) fn german_tax_id(digits: &[u8]) -> bool {
    if digits.len() != 11 || digits[0] == 0 {
        return false;
    }
    let mut seen = [0_u8; 10];
    digits[..10].iter().for_each(|digit| seen[usize::from(*digit)] += 1);
    let repeated = seen.iter().filter(|count| **count > 1).count();
    let product = digits[..10].iter().fold(10_u32, |product, digit| {
        let sum = match (u32::from(*digit) + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    repeated == 1 && seen.iter().all(|count| *count <= 3) && (11 - product) % 10 == u32::from(digits[10])
}

/// French social security number: sex, year, month, place and order, and a key of two digits.
pub(super) fn french_insee(digits: &[u8]) -> bool {
    let number = |part: &[u8]| part.iter().fold(0_u64, |number, digit| number * 10 + u64::from(*digit));
    if digits.len() != 15 || !matches!(digits[0], 1..=4 | 7 | 8) {
        return false;
    }
    let month = number(&digits[3..5]);
    matches!(month, 1..=12 | 20..=42 | 50..=99) && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
}

/// Dutch citizen service number: the eleven test.
pub(super) fn dutch_bsn(digits: &[u8]) -> bool {
    let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
    digits.len() == 9 && !is_one_digit(digits) && weighted(digits, &weights) % 11 == 0
}

/// Brazilian taxpayer number: two check digits mod 11.
pub(super) fn brazilian_cpf(digits: &[u8]) -> bool {
    let key = |length: usize| {
        let weights: i64 = digits[..length]
            .iter()
            .zip((2..=length as i64 + 1).rev())
            .map(|(digit, weight)| i64::from(*digit) * weight)
            .sum();
        (weights * 10 % 11 % 10) as u8
    };
    digits.len() == 11 && !is_one_digit(digits) && key(9) == digits[9] && key(10) == digits[10]
}

/// Polish PESEL: a date of birth, an order number and a weighted check digit.
pub(super) fn polish_pesel(digits: &[u8]) -> bool {
    let weights = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1];
    digits.len() == 11 && weighted(digits, &weights) % 10 == 0 && {
        let month = (digits[2] * 10 + digits[3]) % 20;
        let day = digits[4] * 10 + digits[5];
        (1..=12).contains(&month) && (1..=31).contains(&day)
    }
}

/// Swiss social security number: `756` and the check digit of EAN-13.
pub(super) fn swiss_ahv(digits: &[u8]) -> bool {
    let weights = [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1];
    digits.len() == 13 && digits.starts_with(&[7, 5, 6]) && weighted(digits, &weights) % 10 == 0
}

/// Indian Aadhaar: Verhoeff's check digit, and no leading 0 or 1.
pub(super) fn indian_aadhaar(digits: &[u8]) -> bool {
    digits.len() == 12 && digits[0] > 1 && verhoeff(digits)
}

fn weighted(digits: &[u8], weights: &[i32]) -> i32 {
    digits.iter().zip(weights).map(|(digit, weight)| i32::from(*digit) * weight).sum()
}

/// Verhoeff's scheme: products in the dihedral group of order ten, digits permuted by place.
fn verhoeff(digits: &[u8]) -> bool {
    const STEP: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |digit: u8, place: usize| (0..place % 8).fold(digit, |digit, _| STEP[usize::from(digit)]);
    let product = |left: u8, right: u8| match (left < 5, right < 5) {
        (true, true) => (left + right) % 5,
        (true, false) => (left + right - 5) % 5 + 5,
        (false, true) => (left - 5 + 5 - right) % 5 + 5,
        (false, false) => (left + 5 - right) % 5,
    };
    digits.iter().rev().enumerate().fold(0, |check, (place, digit)| product(check, permuted(*digit, place)))
        == 0
}

/// Check letter of a Spanish DNI (or NIE, with X, Y, Z as 0, 1, 2).
pub(super) fn spanish_letter(number: u32) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

/// Italian codice fiscale: sixteen capitals and digits, the last a check letter.
pub(super) fn codice_fiscale(code: &[u8]) -> bool {
    const SHAPE: &[u8; 16] = b"LLLLLLDDLDDLDDDL";
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let fits = |(character, shape): (&u8, &u8)| match shape {
        b'L' => character.is_ascii_uppercase(),
        _ => character.is_ascii_digit(),
    };
    if code.len() != 16 || !code.iter().zip(SHAPE).all(fits) {
        return false;
    }
    let value = |character: u8| {
        u32::from(if character.is_ascii_digit() { character - b'0' } else { character - b'A' })
    };
    let sum: u32 = code[..15]
        .iter()
        .enumerate()
        .map(
            |(place, character)| {
                if place % 2 == 0 { ODD[value(*character) as usize] } else { value(*character) }
            },
        )
        .sum();
    sum % 26 == value(code[15])
}

/// Longest part of a token whose entropy is measured, bytes.
const MEASURED_BYTES: usize = 256;

/// Shannon entropy of the bytes, bits a byte. English words lie near 2.5 to 3.3, random base-64 of 32 bytes above 4.
pub(super) fn entropy_bits(token: &[u8]) -> f64 {
    let token = &token[..token.len().min(MEASURED_BYTES)];
    let mut counts = [0_u16; 256];
    token.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let total = token.len() as f64;
    let part = |count: &u16| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(part).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
    }

    /// One changed digit must break every check.
    fn assert_guards(check: fn(&[u8]) -> bool, valid: &str) {
        let valid = digits(valid);
        assert!(check(&valid), "{valid:?}");
        let mut broken = valid.clone();
        let last = broken.len() - 1;
        broken[last] = (broken[last] + 1) % 10;
        assert!(!check(&broken), "{broken:?}");
    }

    #[test]
    fn check_digits_hold_for_published_examples() {
        assert_guards(is_card, "4111 1111 1111 1111");
        assert_guards(is_card, "3782 822463 10005");
        assert_guards(german_tax_id, "86095742719");
        assert_guards(french_insee, "2 55 08 14 168 025 38");
        assert_guards(dutch_bsn, "111222333");
        assert_guards(brazilian_cpf, "529.982.247-25");
        assert_guards(polish_pesel, "44051401359");
        assert_guards(swiss_ahv, "756.9217.0769.85");
        assert_guards(verhoeff, "2363");
    }

    #[test]
    fn letters_are_checked() {
        assert_eq!(spanish_letter(12_345_678), b'Z');
        assert!(codice_fiscale(b"RSSMRA85T10A562S"));
        assert!(!codice_fiscale(b"RSSMRA85T10A562T"));
        assert!(iban_mod_97(b"GB82WEST12345698765432"));
        assert!(!iban_mod_97(b"GB82WEST12345698765433"));
        assert_eq!(iban_length(*b"DE"), Some(22));
    }

    #[test]
    fn entropy_tells_words_from_keys() {
        assert!(entropy_bits(b"aaaaaaaaaaaa") < 0.1);
        assert!(entropy_bits(b"password") < 3.0);
        assert!(entropy_bits(b"q8ZrT2vLx0PwKd7NbYc4HsJm") > 4.2);
    }
}
