//! DNS messages, as far as a gateway must understand them (RFC 1035, section 4).
//!
//! Only a query's header and single question are read. What is passed on is passed as it came, so
//! every type and extension goes through; what is answered here is written from the query.

use std::net::IpAddr;

/// Identifier, flags and four counts.
const HEADER_BYTES: usize = 12;

/// The largest answer to a datagram whose sender said nothing about sizes.
pub(super) const MAX_DATAGRAM_BYTES: usize = 512;

/// The largest answer on a connection.
pub(super) const MAX_STREAM_BYTES: usize = u16::MAX as usize;

/// The longest name, as bytes of the message.
const MAX_NAME_BYTES: usize = 255;

/// The longest label; larger length bytes are compression, which a lone question has no use for.
const MAX_LABEL_BYTES: u8 = 63;

/// How long an answer given here may be kept, as Docker's resolver says.
const TTL_SECONDS: u32 = 600;

/// A pointer to the name of the question, right behind the header.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 12];

/// Bits of the two bytes of flags.
const RESPONSE: u8 = 0x80;
const OPERATION_MASK: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;

/// The class of the internet, and any class.
const CLASS_INTERNET: u16 = 1;
const CLASS_ANY: u16 = 255;

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseCode {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NotImplemented = 4,
}

/// What is asked for, as far as it may be known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordType {
    A,
    Aaaa,
    Ptr,
    Any,
    Other,
}

impl RecordType {
    fn from_bits(bits: u16) -> Self {
        match bits {
            1 => Self::A,
            28 => Self::Aaaa,
            12 => Self::Ptr,
            255 => Self::Any,
            _ => Self::Other,
        }
    }

    /// Whether a question of this type wants this address.
    pub(super) fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::A => address.is_ipv4(),
            Self::Aaaa => address.is_ipv6(),
            Self::Any => true,
            Self::Ptr | Self::Other => false,
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    Name(String),
}

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// All of it, as it came.
    pub(super) message: &'a [u8],
    /// Header and question.
    pub(super) head: &'a [u8],
    /// Lower case, labels joined by dots, without the last dot.
    pub(super) name: String,
    pub(super) record_type: RecordType,
}

impl<'a> Query<'a> {
    /// Reads a query; if it is none, what to say to that, if anything.
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Option<Vec<u8>>> {
        let header = message.get(..HEADER_BYTES).ok_or(None)?;
        if header[2] & RESPONSE != 0 {
            return Err(None);
        }
        if header[2] & OPERATION_MASK != 0 {
            return Err(Some(response(header, ResponseCode::NotImplemented)));
        }
        let parsed = (header[4..6] == [0, 1])
            .then(|| parse_question(message))
            .flatten();
        parsed.ok_or_else(|| {
            let mut bare = header.to_vec();
            bare[4..].fill(0);
            Some(response(&bare, ResponseCode::FormatError))
        })
    }

    /// An answer of these records, cut to `limit` bytes and marked so where it would be longer.
    pub(super) fn answer(&self, records: &[Record], limit: usize) -> Vec<u8> {
        let mut answer = response(self.head, ResponseCode::NoError);
        let mut count: u16 = 0;
        for record in records {
            let record = self.encode(record);
            if answer.len() + record.len() > limit {
                answer[2] |= TRUNCATED;
                break;
            }
            answer.extend_from_slice(&record);
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        answer
    }

    /// An answer of a code only.
    pub(super) fn fail(&self, code: ResponseCode) -> Vec<u8> {
        response(self.head, code)
    }

    fn encode(&self, record: &Record) -> Vec<u8> {
        let (record_type, data): (u16, Vec<u8>) = match record {
            Record::Address(IpAddr::V4(address)) => (1, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (28, address.octets().to_vec()),
            Record::Name(name) => (12, encode_name(name)),
        };
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        let mut encoded = NAME_OF_QUESTION.to_vec();
        encoded.extend_from_slice(&record_type.to_be_bytes());
        encoded.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        encoded.extend_from_slice(&TTL_SECONDS.to_be_bytes());
        encoded.extend_from_slice(&length.to_be_bytes());
        encoded.extend_from_slice(&data);
        encoded
    }
}

/// Whether `message` answers the query with this header and question: whoever guessed the port
/// must guess these too.
pub(super) fn is_answer(head: &[u8], message: &[u8]) -> bool {
    let Some(answered) = message.get(..head.len()) else {
        return false;
    };
    let responds = answered[2] & RESPONSE != 0 && answered[..2] == head[..2];
    // Servers may change the letters' case, though most do not.
    responds && answered[HEADER_BYTES..].eq_ignore_ascii_case(&head[HEADER_BYTES..])
}

/// A failure for the query with this header and question.
pub(super) fn failure(head: &[u8], code: ResponseCode) -> Vec<u8> {
    response(head, code)
}

/// The head of a response to a query, which has one question if more than a header is given.
fn response(head: &[u8], code: ResponseCode) -> Vec<u8> {
    let mut response = head.to_vec();
    response[2] = RESPONSE | response[2] & (OPERATION_MASK | RECURSION_DESIRED);
    response[3] = RECURSION_AVAILABLE | code as u8;
    response[6..HEADER_BYTES].fill(0);
    if head.len() == HEADER_BYTES {
        response[4..6].fill(0);
    }
    response
}

fn parse_question(message: &[u8]) -> Option<Query<'_>> {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = *message.get(at)?;
        at += 1;
        if length == 0 {
            break;
        }
        if length > MAX_LABEL_BYTES || at - HEADER_BYTES > MAX_NAME_BYTES {
            return None;
        }
        let label = message.get(at..at + usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += usize::from(length);
    }
    let &[type_high, type_low, class_high, class_low] = message.get(at..at + 4)? else {
        return None;
    };
    let class = u16::from_be_bytes([class_high, class_low]);
    let record_type = match class {
        CLASS_INTERNET | CLASS_ANY => {
            RecordType::from_bits(u16::from_be_bytes([type_high, type_low]))
        }
        _ => RecordType::Other,
    };
    let head = &message[..at + 4];
    Some(Query {
        message,
        head,
        name: labels.join("."),
        record_type,
    })
}

/// A name as labels; what does not fit one is cut.
fn encode_name(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(usize::from(MAX_LABEL_BYTES))];
        if encoded.len() + label.len() + 2 > MAX_NAME_BYTES {
            break;
        }
        encoded.push(u8::try_from(label.len()).unwrap_or(MAX_LABEL_BYTES));
        encoded.extend_from_slice(label);
    }
    encoded.push(0);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `web` with recursion desired.
    const WEB_A: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03WeB\x00\x00\x01\x00\x01";

    #[test]
    fn reads_a_question_in_lower_case() {
        let query = Query::parse(WEB_A).unwrap();

        assert_eq!(query.name, "web");
        assert_eq!(query.record_type, RecordType::A);
    }

    #[test]
    fn an_answer_repeats_the_question() {
        let query = Query::parse(WEB_A).unwrap();

        let answer = query.answer(&[Record::Address("10.0.0.2".parse().unwrap())], 512);

        assert!(is_answer(query.head, &answer));
        assert_eq!(answer[6..8], [0, 1]);
        assert_eq!(answer[answer.len() - 4..], [10, 0, 0, 2]);
    }

    #[test]
    fn an_answer_too_long_for_a_datagram_says_so() {
        let query = Query::parse(WEB_A).unwrap();
        let records = vec![Record::Address("10.0.0.2".parse().unwrap()); 100];

        let answer = query.answer(&records, MAX_DATAGRAM_BYTES);

        assert!(answer.len() <= MAX_DATAGRAM_BYTES);
        assert_eq!(answer[2] & TRUNCATED, TRUNCATED);
    }

    #[test]
    fn a_response_is_no_query() {
        let query = Query::parse(WEB_A).unwrap();
        let response = query.fail(ResponseCode::ServerFailure);

        assert_eq!(Query::parse(&response), Err(None));
    }

    #[test]
    fn a_compressed_question_is_a_format_error() {
        let mut looped = WEB_A.to_vec();
        looped[12..14].copy_from_slice(&NAME_OF_QUESTION);

        let answer = Query::parse(&looped).unwrap_err().unwrap();

        assert_eq!(answer[3] & 0x0f, ResponseCode::FormatError as u8);
        assert_eq!(answer.len(), HEADER_BYTES);
    }

    #[test]
    fn a_cut_message_gets_no_answer() {
        assert_eq!(Query::parse(&WEB_A[..8]), Err(None));
    }
}
