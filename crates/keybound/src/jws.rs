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

/// The longest signature we read: RSA of 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// A decoded signature, kept without an allocation.
pub(crate) struct SignatureOctets {
    octets: [u8; MAX_SIGNATURE],
    length: usize,
}

impl SignatureOctets {
    fn decode(segment: &str) -> Result<Self, JwsError> {
        let mut octets = [0; MAX_SIGNATURE];
        let length = decode_into(segment, &mut octets)?;
        Ok(Self { octets, length })
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
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
