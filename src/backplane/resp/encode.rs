//! What Redis is told: commands, as arrays of bulk strings.

/// The digits of the largest length.
const MAX_DIGITS: usize = usize::MAX.ilog10() as usize + 1;

/// Appends a command and its arguments. Arguments are any bytes: nothing is escaped, and nothing
/// can be smuggled in.
///
/// # Panics
/// If there is not even the command's name.
pub fn command(args: &[&[u8]], output: &mut Vec<u8>) {
    assert!(!args.is_empty(), "a command has a name");
    output.reserve(command_len(args));
    push_head(b'*', args.len(), output);
    for arg in args {
        push_head(b'$', arg.len(), output);
        output.extend_from_slice(arg);
        output.extend_from_slice(b"\r\n");
    }
}

/// How many bytes [`command`] appends.
pub fn command_len(args: &[&[u8]]) -> usize {
    let bulks = args.iter().map(|arg| head_len(arg.len()) + arg.len() + 2);
    head_len(args.len()) + bulks.sum::<usize>()
}

fn push_head(kind: u8, len: usize, output: &mut Vec<u8>) {
    let (mut digits, mut begin, mut rest) = ([0; MAX_DIGITS], MAX_DIGITS, len);
    loop {
        begin -= 1;
        #[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
        let digit = (rest % 10) as u8;
        digits[begin] = b'0' + digit;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.push(kind);
    output.extend_from_slice(&digits[begin..]);
    output.extend_from_slice(b"\r\n");
}

/// The length of a head: a type, the digits of a length, CR and LF.
fn head_len(len: usize) -> usize {
    let digits = len.checked_ilog10().unwrap_or_default() + 1;
    digits as usize + 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(args: &[&[u8]]) -> Vec<u8> {
        let mut output = Vec::new();
        command(args, &mut output);
        assert_eq!(output.len(), command_len(args));
        output
    }

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        assert_eq!(encoded(&[b"PING"]), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(
            encoded(&[b"PUBLISH", b"", b"\r\n\0"]),
            b"*3\r\n$7\r\nPUBLISH\r\n$0\r\n\r\n$3\r\n\r\n\0\r\n"
        );
    }

    #[test]
    fn lengths_have_their_digits() {
        for len in [0, 1, 9, 10, 99, 100, 12_345, 1_000_000] {
            let head = format!("*1\r\n${len}\r\n");
            let command = encoded(&[&vec![b'x'; len]]);
            assert!(command.starts_with(head.as_bytes()), "{len}");
            assert_eq!(command.len(), head.len() + len + 2, "{len}");
        }
        let mut output = Vec::new();
        push_head(b'$', usize::MAX, &mut output);
        assert_eq!(output, format!("${}\r\n", usize::MAX).into_bytes());
        assert_eq!(output.len(), head_len(usize::MAX));
    }

    #[test]
    fn it_is_appended_with_one_allocation() {
        let mut output = b"before".to_vec();
        command(&[b"GET", &[b'x'; 1000]], &mut output);
        assert!(output.starts_with(b"before*2\r\n$3\r\nGET\r\n$1000\r\nxx"));
        let mut output = Vec::new();
        command(&[b"GET", &[b'x'; 1000]], &mut output);
        assert!(output.capacity() < output.len() + 16, "no more than needed");
    }
}
