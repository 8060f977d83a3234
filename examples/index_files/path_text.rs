use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path as text that loses nothing: `\` is `\\`, and a byte that is no text is `\xNN`.
pub(crate) fn to_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The path that [`to_text`] was given.
pub(crate) fn to_path(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(1..3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, after.first(), hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'\\', Some(b'x'), Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            (b'\\', Some(b'\\'), _) => {
                bytes.push(b'\\');
                rest = &after[1..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}
