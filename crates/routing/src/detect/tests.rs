//! Tables of what must be found and what must not, and properties of every scan.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Detectors, Kind};

fn kinds(text: &str) -> BTreeSet<Kind> {
    Detectors::shared().scan(text).into_iter().map(|hit| hit.kind).collect()
}

pub(super) fn assert_finds(kind: Kind, texts: &[&str]) {
    for text in texts {
        assert!(kinds(text).contains(&kind), "{} not found in {text:?}: {:?}", kind.as_str(), kinds(text));
    }
}

pub(super) fn assert_clean(texts: &[&str]) {
    for text in texts {
        assert_eq!(kinds(text), BTreeSet::new(), "{text:?}");
    }
}

#[test]
fn provider_keys_are_found_and_placeholders_are_not() {
    // Put together here, so that no scanner of this repository takes them for real ones.
    let body = "q8ZrT2vLx0PwKd7NbYc4HsJm3Uf6Ge1Ia5Xo";
    let prefixes = [
        "ghp_",
        "gho_",
        "github_pat_",
        "glpat-",
        "sk_live_",
        "rk_live_",
        "sk-",
        "sk-proj-",
        "sk-ant-",
        "hf_",
        "npm_",
    ];
    for prefix in prefixes {
        assert_finds(Kind::ApiKey, &[&format!("use {prefix}{body} please"), &format!("{prefix}{body}")]);
    }
    let exact = [
        ("AKIA", "IOSFODNN7EXAMPLE"),
        ("ASIA", "Q3EGRZ2LTMPYUWXA"),
        ("SK", "8f14e45fceea167a5a36dedd4bea2543"),
    ];
    for (prefix, rest) in exact {
        assert_finds(Kind::ApiKey, &[&format!("key={prefix}{rest};")]);
        assert!(!kinds(&format!("{prefix}{rest}a1b2")).contains(&Kind::ApiKey));
    }
    assert_finds(
        Kind::ApiKey,
        &[&format!("AIza{}", &body[..35]), &format!("xoxb-{body}"), &format!("SG.{body}.{body}")],
    );
    assert_clean(&[
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "ghp_",
        "a risk-averse reader",
        "the desk-bound librarian asks",
    ]);
}

#[test]
fn private_keys_tokens_and_passwords_are_found() {
    assert_finds(
        Kind::PrivateKey,
        &[
            "-----BEGIN PRIVATE KEY-----\nMIIE",
            "{\"private_key\": \"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\"}",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        ],
    );
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlc2lnbmF0dXJl";
    assert_finds(Kind::JsonWebToken, &[token]);
    assert!(!kinds("eyJub3QiOiJhIGp3dCJ9.eyJzdWIiOiIxIn0.c2ln").contains(&Kind::JsonWebToken));
    assert_finds(Kind::ConnectionString, &["postgres://user:pass@db.internal/main", "amqp://a:b@c"]);
    assert_finds(
        Kind::Password,
        &[
            "password = hunter2!",
            "\"password\": \"correct horse\".replace; password: \"Tr0ub4dor\"",
            "The password is S3cr3tStuff.",
            "DB_PASSWORD=letmeinplease",
            "pwd: Zx81!spectrum",
        ],
    );
    assert_finds(
        Kind::SecretToken,
        &[
            "Authorization: Bearer q8ZrT2vLx0PwKd7NbYc4HsJm",
            "api_key: 8f14e45fceea167a5a36dedd4bea2543",
            "Our api key for the staging system is q8ZrT2vLx0PwKd7NbYc4HsJm.",
        ],
    );
    assert_clean(&[
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "postgres://user:<password>@host/db and https://example.org:8080/path",
        "How do I reset a password? The password is required and must be long.",
        "password: string; token: string",
        "connect(password=password, token=os.environ['TOKEN'])",
        "SECRETS_PATH = '/run/secrets' and [`ToTokens`]: https://docs.rs/quote/1.0/quote/trait.ToTokens.html",
        "The token limit is 4096 and the secret of success is patience.",
    ]);
}

#[test]
fn contact_details_are_found() {
    assert_finds(
        Kind::Email,
        &[
            "write to jane.doe+x@mail.example.co.uk.",
            "name [at] example [dot] com",
            "name(at)example.org",
            "jane dot doe at example dot com",
            "jane\u{200b}@exam\u{200b}ple.com",
            "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        ],
    );
    assert_finds(
        Kind::Phone,
        &[
            "+44 20 7946 0958",
            "+41 (0)69 979 80 58",
            "(415) 555-2671",
            "905-674-3793",
            "1-800-555-0199",
            "0494 92 82 32",
            "06.12.34.56.78",
            "07700 063 966",
            "call me on 78 651 450",
            "Phone: 467 3395",
            "＋４９ ３０ １２３４５６７８",
        ],
    );
    assert_finds(
        Kind::IpAddress,
        &[
            "from 203.0.113.7 port 22",
            "10.1.2.30",
            "2001:db8:85a3::8a2e:370:7334",
            "[fe80::1ff:fe23:4567:890a]",
        ],
    );
    assert_finds(Kind::MacAddress, &["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e"]);
    assert_clean(&[
        "Meet at noon. Look at example.com for details, dot the i.",
        "git@github.com:trilane/trilane.git",
        "section 1.2.3.4, version 10.4.2, mask 255.255.255.0, host 127.0.0.1",
        "std::vec::Vec and a::b, at 12:30:45 on 2024-01-15",
        "1990-1995, 3.14159265358979, 1,234,567 and 1700000000000",
        "x = 123456789 + 987654321",
        "Boston, USA 02110-1301",
        "2003-08-28 12:13:52",
    ]);
}

#[test]
fn numbers_with_check_digits_are_found_and_near_misses_are_not() {
    assert_finds(
        Kind::CreditCard,
        &[
            "4111111111111111",
            "4111 1111 1111 1111",
            "5500-0000-0000-0004",
            "3782 822463 10005",
            "４１１１１１１１１１１１１１１１",
            "4111\u{200b}1111\u{200b}1111\u{200b}1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "card:4111111111111111.",
        ],
    );
    assert_finds(
        Kind::Iban,
        &["GB82 WEST 1234 5698 7654 32", "de89370400440532013000", "IBAN FR14 2004 1010 0505 0001 3M02 606"],
    );
    assert_finds(Kind::UsSsn, &["123-45-6789", "ssn 123456789"]);
    assert_finds(Kind::UkNino, &["AB 12 34 56 C", "AB123456C"]);
    assert_finds(
        Kind::NationalId,
        &[
            "12345678Z",
            "X1234567L",
            "RSSMRA85T10A562S",
            "86095742719",
            "2 55 08 14 168 025 38",
            "BSN 111222333",
            "529.982.247-25",
            "756.9217.0769.85",
        ],
    );
    assert_clean(&[
        "4111111111111112",
        "GB82 WEST 1234 5698 7654 33",
        "000-45-6789 and 666-45-6789",
        "12345678A",
        "AB123456E",
        "111222333",
        "86095742718",
        "0.4111111111111111",
    ]);
}

#[test]
fn numbers_beside_their_words_are_found() {
    assert_finds(Kind::Passport, &["passport number 533380006", "Passport No: L01X00T47 5"]);
    assert_finds(Kind::DriverLicence, &["driver's license D1234567"]);
    assert_finds(Kind::MedicalRecord, &["MRN: 00481516", "medical record number 4815162"]);
    assert_finds(Kind::AccountNumber, &["account number 12345678", "Customer ID: C-4815162"]);
    assert_finds(
        Kind::DateOfBirth,
        &["DOB: 04/12/1980", "date of birth is 4 December 1980", "born: 1980-12-04"],
    );
    assert_clean(&[
        "She lost her passport in 2019.",
        "What is a medical record?",
        "date of birth of a nation",
        "My birthday is in May",
        "adobe 04/12/1980",
    ]);
}

#[test]
fn names_and_addresses_are_found() {
    assert_finds(
        Kind::PersonName,
        &[
            "Maria Schmidt asked for a refund",
            "Contact Ludwig van Hoeven about it",
            "my name is lena andersson",
            "Dear Mr. Okonkwo,",
            "patient John has a fever",
            "Wisława Szczepańska wrote",
            "JOHN SMITH",
            "Ibrahim K. Hassan",
            "Name: Toshimi Arata",
            "Anna's diagnosis is not known yet",
        ],
    );
    assert_finds(
        Kind::PostalAddress,
        &[
            "221b Baker Street",
            "1600 Pennsylvania Ave",
            "Hauptstraße 5",
            "12 Rue de la Paix",
            "Via dei Fiorentini 17",
            "ul. Słowicza 10",
            "P.O. Box 1234",
            "Apt. 864",
            "Beverly Hills, CA 90210",
            "SW1A 1AA",
            "She lives at 10252 Akazienhof 184",
        ],
    );
    assert_clean(&[
        "The New York Stock Exchange opened on Monday.",
        "In 1960 The Road was closed, 3 miles down the road.",
        "Joe and Mike ran 5 miles in 45 minutes on 2 May 2003.",
        "Name three rivers in South America. My name is not important here is it?",
        "The longest side of a triangle is 10. Which is it?",
        "World War II, Vitamin C, Hepatitis B and the United States",
        "for i in range(10): print(items[i].name)",
    ]);
}

#[test]
fn hits_are_counted_by_kind() {
    let hits = Detectors::shared().scan("a@example.com, b@example.com and 4111 1111 1111 1111");
    let found: Vec<_> = hits.iter().map(|hit| (hit.kind, hit.count)).collect();
    assert_eq!(found, [(Kind::Email, 2), (Kind::CreditCard, 1)]);
}

/// Text that is likely to get far into the rules: fragments of what they look for, between any characters.
fn eventful() -> impl Strategy<Value = String> {
    let fragments = prop::sample::select(vec![
        "4111 1111 1111 1111",
        "+49 30 1234567",
        "a@b.co",
        " [at] ",
        " dot com",
        "password",
        " = ",
        "://",
        "u:p@",
        "eyJ",
        "sk-",
        "AKIA",
        "-----BEGIN",
        "GB82WEST12345698765432",
        "123-45-6789",
        "10.0.0.1",
        "::1",
        "00:1a:2b",
        "Dr. ",
        "Anna",
        " Schmidt",
        "my name is ",
        "12 ",
        "Main Street",
        "Apt. ",
        "DOB ",
        "1980-12-04",
        "passport ",
        "ssn ",
        "123456789",
        "\n",
        "\u{200b}",
        "ł",
        "４",
        "(",
        "+",
        "'s ",
        ", can ",
        "account number ",
        "lives at ",
        "bearer ",
        "call me ",
    ]);
    let part = prop_oneof![4 => fragments.prop_map(str::to_owned), 1 => "\\PC{0,6}", 1 => "[0-9 .-]{0,12}"];
    prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_text_is_scanned_without_panic(text in any::<String>()) {
        Detectors::shared().scan(&text);
    }

    #[test]
    fn eventful_text_is_scanned_without_panic(text in eventful()) {
        Detectors::shared().scan(&text);
    }

    #[test]
    fn more_text_never_hides_what_was_found(left in eventful(), right in eventful()) {
        let together = kinds(&format!("{left}\n\n{right}"));
        let apart: BTreeSet<_> = kinds(&left).union(&kinds(&right)).copied().collect();
        prop_assert!(together.is_superset(&apart), "{:?} is missing of {:?}", apart.difference(&together), apart);
    }

    #[test]
    fn folding_twice_changes_nothing_more(text in any::<String>()) {
        let once = super::fold::fold(&text).into_owned();
        let twice = super::fold::fold(&once).into_owned();
        prop_assert_eq!(twice, once);
    }
}
