//! The compact form of JWS (RFC 7515 section 7.1), strict base64url and strict JSON. Signatures are checked elsewhere.

pub mod json;

use data_encoding::BASE64URL_NOPAD;

/// Why octets are not a compact JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwsError {
    /// Not exactly three segments.
    Segments,
    /// A segment is not canonical base64url without padding.
    Encoding,
}

/// A compact JWS cut at its dots; nothing is decoded and nothing believed.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'j> {
    /// First segment.
    pub(crate) header: &'j str,
    /// Second segment.
    pub(crate) payload: &'j str,
    /// First and second segment with the dot between: what is signed.
    pub(crate) signing_input: &'j str,
    /// Third segment.
    signature: &'j str,
}

impl<'j> Compact<'j> {
    pub(crate) fn split(text: &'j str) -> Result<Self, JwsError> {
        let (signing_input, signature) = text.rsplit_once('.').ok_or(JwsError::Segments)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Segments)?;
        if payload.contains('.') {
            return Err(JwsError::Segments);
        }
        Ok(Self { header, payload, signing_input, signature })
    }

    pub(crate) fn signature(&self) -> Result<SignatureOctets, JwsError> {
        SignatureOctets::decode(self.signature)
    }
}

/// The longest signature we read: RSA of 4096 bits.
const MAX_SIGNATURE: usize = 512;

/// One of ECDSA over P-521; the others of elliptic curves are shorter.
const SHORT_SIGNATURE: usize = 132;

/// A decoded signature. It is moved a few times on its way to the check, so the short ones, which are nearly all, are kept
/// without an allocation and the long ones of RSA in one.
pub(crate) enum SignatureOctets {
    Short { octets: [u8; SHORT_SIGNATURE], length: usize },
    Long(Vec<u8>),
}

impl SignatureOctets {
    fn decode(segment: &str) -> Result<Self, JwsError> {
        let length = BASE64URL_NOPAD.decode_len(segment.len()).map_err(|_| JwsError::Encoding)?;
        if length > MAX_SIGNATURE {
            return Err(JwsError::Encoding);
        }
        if length > SHORT_SIGNATURE {
            return decode_base64url(segment).map(Self::Long);
        }
        let mut octets = [0; SHORT_SIGNATURE];
        let length = decode_into(segment, &mut octets)?;
        Ok(Self::Short { octets, length })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { octets, length } => octets.get(..*length).unwrap_or_default(),
            Self::Long(octets) => octets,
        }
    }
}

/// Decodes base64url without padding; padding, white space, the other alphabet and non-zero trailing bits are refused
/// (RFC 7515 section 2, RFC 4648 section 3.5).
///
/// # Errors
///
/// [`JwsError::Encoding`].
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, JwsError> {
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JwsError::Encoding)
}

/// Base64url without padding.
pub fn encode_base64url(octets: &[u8]) -> String {
    BASE64URL_NOPAD.encode(octets)
}

/// Decodes into `out` and says how many octets there are.
pub(crate) fn decode_into(text: &str, out: &mut [u8]) -> Result<usize, JwsError> {
    let length = BASE64URL_NOPAD.decode_len(text.len()).map_err(|_| JwsError::Encoding)?;
    let room = out.get_mut(..length).ok_or(JwsError::Encoding)?;
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), room).map_err(|_| JwsError::Encoding)
}

/// Decodes exactly `N` octets.
pub(crate) fn decode_exact<const N: usize>(text: &str) -> Result<[u8; N], JwsError> {
    let mut octets = [0; N];
    match decode_into(text, &mut octets)? {
        length if length == N => Ok(octets),
        _ => Err(JwsError::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_segments_and_no_other_number() {
        assert!(Compact::split("a.b.c").is_ok());
        assert!(Compact::split("..").is_ok());
        for text in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e"] {
            assert_eq!(Compact::split(text).err(), Some(JwsError::Segments), "{text:?}");
        }
    }

    #[test]
    fn exact_length_is_exact() {
        assert_eq!(decode_exact::<2>("Zm8"), Ok(*b"fo"));
        assert_eq!(decode_exact::<2>("Zm9v"), Err(JwsError::Encoding));
        assert_eq!(decode_exact::<4>("Zm9v"), Err(JwsError::Encoding));
    }
}
