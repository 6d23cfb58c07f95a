//! ECDSA signatures as authenticators write them (section 6.5.5, RFC 3279 section 2.2.3), in the one form that DER has.

/// R and S of a signature over P-256 at full length, as JWS has them.
pub(super) fn ecdsa_p256(signature: &[u8]) -> Option<[u8; 64]> {
    // Two integers of at most 33 octets: no length takes more than one octet.
    let (body, []) = part(0x30, signature)? else { return None };
    let (r, rest) = part(0x02, body)?;
    let (s, []) = part(0x02, rest)? else { return None };
    let mut octets = [0; 64];
    let (left, right) = octets.split_at_mut(32);
    place(r, left)?;
    place(s, right)?;
    Some(octets)
}

/// The content of the part with this tag, and what comes behind it.
fn part(tag: u8, octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = octets else { return None };
    let length = usize::from(*length);
    (*found == tag && length < 0x80).then_some(())?;
    rest.split_at_checked(length)
}

/// A positive integer in its shortest form, to the right of `field`.
fn place(integer: &[u8], field: &mut [u8]) -> Option<()> {
    let magnitude = match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => rest,
        [first, ..] if *first & 0x80 == 0 && *first != 0 => integer,
        _ => return None,
    };
    let free = field.len().checked_sub(magnitude.len())?;
    field.get_mut(free..)?.copy_from_slice(magnitude);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_one_signature() {
        let of = |r: &[u8], s: &[u8]| {
            let mut body = vec![0x02, r.len() as u8];
            body.extend_from_slice(r);
            body.extend_from_slice(&[0x02, s.len() as u8]);
            body.extend_from_slice(s);
            [&[0x30, body.len() as u8][..], &body].concat()
        };
        let found = ecdsa_p256(&of(&[1], &[0, 0x80])).unwrap();
        assert_eq!((found[31], found[63], found[0], found[62]), (1, 0x80, 0, 0));
        let long = [&[0][..], &[0xff; 32]].concat();
        assert_eq!(ecdsa_p256(&of(&long, &[0x7f; 32])).unwrap()[..32], [0xff; 32]);
        for (what, octets) in [
            ("nothing", vec![]),
            ("zero", of(&[0], &[1])),
            ("an empty integer", of(&[], &[1])),
            ("a negative integer", of(&[0x80], &[1])),
            ("a zero too many", of(&[0, 1], &[1])),
            ("33 octets", of(&[1; 33], &[1])),
            ("an octet behind", [of(&[1], &[1]), vec![0]].concat()),
            ("an octet inside behind", vec![0x30, 7, 2, 1, 1, 2, 1, 1, 0]),
            ("a length too long", vec![0x30, 0x81, 6, 2, 1, 1, 2, 1, 1]),
            ("another tag", vec![0x31, 6, 2, 1, 1, 2, 1, 1]),
            ("cut short", vec![0x30, 6, 2, 1, 1, 2, 1]),
        ] {
            assert_eq!(ecdsa_p256(&octets), None, "{what}");
        }
    }
}
