//! As much of JSON (RFC 8259) as lists need.

use std::fmt::Write;

/// Appends a text as a JSON string.
pub(super) fn write_string(text: &str, output: &mut String) {
    output.push('"');
    for letter in text.chars() {
        match letter {
            '"' => output.push_str("\\\""),
            '\\' => output.push_str("\\\\"),
            // RFC 8259, section 7: control characters must be escaped. DEL and those beyond ASCII
            // are as well, since terminals obey them.
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(output, "\\u{:04x}", u32::from(control));
            }
            other => output.push(other),
        }
    }
    output.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_string_or_upset_a_terminal_is_escaped() {
        for (text, json) in [
            ("", r#""""#),
            ("plain ünï 🎺", r#""plain ünï 🎺""#),
            (r#"a"b\c/"#, r#""a\"b\\c/""#),
            (
                "\0\t\r\n\u{1b}\u{1f}",
                r#""\u0000\u0009\u000d\u000a\u001b\u001f""#,
            ),
            ("\u{7f}\u{9b}", r#""\u007f\u009b""#),
        ] {
            let mut output = String::new();
            write_string(text, &mut output);
            assert_eq!(output, json);
        }
    }
}
