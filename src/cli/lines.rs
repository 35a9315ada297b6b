//! The lines of a file, of which none is kept in memory that is longer than lines may be.

use std::io::{BufRead, Read, Result};

/// The most bytes of a line without its end: many times what a user takes up.
pub(super) const MAX_LINE_BYTES: usize = 64 * 1024;

/// Reads lines.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// All of it, perhaps with its end.
    Whole(&'a [u8]),
    /// It is longer than lines may be, and was passed by.
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    /// Returns the next line and how many bytes of the file it takes; `None` after the last one.
    pub(super) fn next(&mut self) -> Result<Option<(Line<'_>, u64)>> {
        // One more than fits: the end of the line, or the byte that is too much.
        let most = u64::try_from(MAX_LINE_BYTES).map_or(u64::MAX, |bytes| bytes.saturating_add(1));
        self.line.clear();
        let read = self
            .reader
            .by_ref()
            .take(most)
            .read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let is_whole = read <= MAX_LINE_BYTES || self.line.ends_with(b"\n");
        let passed_by = if is_whole {
            0
        } else {
            self.reader.skip_until(b'\n')?
        };
        let length = u64::try_from(read + passed_by).unwrap_or(u64::MAX);
        let line = if is_whole {
            Line::Whole(&self.line)
        } else {
            Line::TooLong
        };
        Ok(Some((line, length)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor, Read};

    use super::{Line, Lines, MAX_LINE_BYTES};

    #[test]
    fn lines_may_have_64_kib() {
        let longest = "x".repeat(MAX_LINE_BYTES);
        let text = format!("\n{longest}\n{longest}x\na\r\n{longest}y{longest}\n{longest}");
        let mut lines = Lines::new(Cursor::new(text.as_bytes()));
        let most = u64::try_from(MAX_LINE_BYTES).unwrap();
        let mut next = || {
            lines.next().unwrap().map(|(line, length)| match line {
                Line::Whole(line) => (Some(line.to_vec()), length),
                Line::TooLong => (None, length),
            })
        };

        assert_eq!(next(), Some((Some(b"\n".to_vec()), 1)));
        assert_eq!(
            next(),
            Some((Some(format!("{longest}\n").into_bytes()), most + 1))
        );
        assert_eq!(next(), Some((None, most + 2)));
        assert_eq!(next(), Some((Some(b"a\r\n".to_vec()), 3)));
        assert_eq!(next(), Some((None, 2 * most + 2)));
        assert_eq!(next(), Some((Some(longest.into_bytes()), most)));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        const ENDLESS: u64 = 64 * 1024 * 1024;
        let mut lines = Lines::new(BufReader::new(std::io::repeat(b'x').take(ENDLESS)));

        assert_eq!(lines.next().unwrap(), Some((Line::TooLong, ENDLESS)));
        assert_eq!(lines.next().unwrap(), None);
        assert!(lines.line.capacity() <= 4 * MAX_LINE_BYTES);
    }
}
