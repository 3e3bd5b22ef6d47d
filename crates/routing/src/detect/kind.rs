//! What a detector can find, under names that stay the same in decisions, metrics and the routing log.

/// What was found. The names are part of the routing log and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A provider's key, told by its prefix and alphabet (AWS, GitHub, Stripe, OpenAI, Anthropic, …).
    ApiKey,
    /// A PEM, OpenSSH, PGP or PuTTY private key.
    PrivateKey,
    /// A JSON Web Token whose header decodes (RFC 7519).
    JsonWebToken,
    /// A URL with a user and a password.
    ConnectionString,
    /// A password in an assignment or a sentence.
    Password,
    /// A random-looking token beside a word such as `secret` or `api key`.
    SecretToken,
    /// An e-mail address, also written with `[at]` and `[dot]`.
    Email,
    /// A well-formed phone number, international or national, or a looser one beside a word such as `call`.
    Phone,
    /// A payment card number: known issuer, length and Luhn digit.
    CreditCard,
    /// An IBAN: country length and mod-97 digits (ISO 13616).
    Iban,
    /// A United States social security number.
    UsSsn,
    /// A British national insurance number.
    UkNino,
    /// Another national or tax number whose check digits hold.
    NationalId,
    /// A passport number beside that word.
    Passport,
    /// A driving licence number beside that word.
    DriverLicence,
    /// An IPv4 or IPv6 address of a host.
    IpAddress,
    /// A MAC address.
    MacAddress,
    /// A street address, post box or postal code with its region.
    PostalAddress,
    /// A person's name, as far as light rules get.
    PersonName,
    /// A full date beside words such as `date of birth`.
    DateOfBirth,
    /// A patient's record or insurance number.
    MedicalRecord,
    /// An account, customer or member number beside such a word.
    AccountNumber,
}

impl Kind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 22] = [
        Self::ApiKey,
        Self::PrivateKey,
        Self::JsonWebToken,
        Self::ConnectionString,
        Self::Password,
        Self::SecretToken,
        Self::Email,
        Self::Phone,
        Self::CreditCard,
        Self::Iban,
        Self::UsSsn,
        Self::UkNino,
        Self::NationalId,
        Self::Passport,
        Self::DriverLicence,
        Self::IpAddress,
        Self::MacAddress,
        Self::PostalAddress,
        Self::PersonName,
        Self::DateOfBirth,
        Self::MedicalRecord,
        Self::AccountNumber,
    ];

    /// The name in decisions and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::PrivateKey => "private_key",
            Self::JsonWebToken => "json_web_token",
            Self::ConnectionString => "connection_string",
            Self::Password => "password",
            Self::SecretToken => "secret_token",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::CreditCard => "credit_card",
            Self::Iban => "iban",
            Self::UsSsn => "us_ssn",
            Self::UkNino => "uk_nino",
            Self::NationalId => "national_id",
            Self::Passport => "passport",
            Self::DriverLicence => "driver_licence",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::PostalAddress => "postal_address",
            Self::PersonName => "person_name",
            Self::DateOfBirth => "date_of_birth",
            Self::MedicalRecord => "medical_record",
            Self::AccountNumber => "account_number",
        }
    }

    /// Whether it opens a door, rather than tells of a person.
    pub fn is_secret(self) -> bool {
        self <= Self::SecretToken
    }
}

/// How often one kind was found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// What was found.
    pub kind: Kind,
    /// How often, at least 1.
    pub count: u32,
}

/// Counts by kind; its size does not depend on the text.
#[derive(Debug, Default)]
pub(super) struct Tally([u32; Kind::ALL.len()]);

impl Tally {
    pub(super) fn add(&mut self, kind: Kind) {
        let count = &mut self.0[kind as usize];
        *count = count.saturating_add(1);
    }

    pub(super) fn into_hits(self) -> Vec<Hit> {
        let counted = Kind::ALL.into_iter().zip(self.0);
        counted.filter(|(_, count)| *count > 0).map(|(kind, count)| Hit { kind, count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_at_their_own_index_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert!(names.insert(kind.as_str()));
        }
    }
}
