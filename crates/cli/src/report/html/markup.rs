//! Text that becomes markup: escaped, always. Nothing from a record reaches the page but through here.

use std::fmt::{Display, Formatter, Result, Write};

/// Text of any origin, harmless inside an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Controls and marks of direction could make a name look like another.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                control if control.is_control() && control != '\n' => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A column of a table.
#[derive(Clone, Copy)]
pub(super) enum Column {
    /// Words.
    Words(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
    /// Sentences, which may break.
    Sentence(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Words(name) | Self::Number(name) | Self::Sentence(name) => name,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Words(_) => "",
            Self::Number(_) => " class=\"number\"",
            Self::Sentence(_) => " class=\"sentence\"",
        }
    }
}

/// A table in a scroller of its own. The first cell of each row is its header.
pub(super) fn table(caption: &str, columns: &[Column], rows: &[Vec<String>]) -> String {
    let caption = Escaped(caption);
    let head: String = columns
        .iter()
        .map(|column| format!("<th scope=\"col\"{}>{}</th>", column.class(), Escaped(column.name())))
        .collect();
    let body: String = rows.iter().map(|cells| row(columns, cells)).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table>\
         <caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}

fn row(columns: &[Column], cells: &[String]) -> String {
    let cell = |(index, (column, cell)): (usize, (&Column, &String))| match index {
        0 => format!("<th scope=\"row\"{}>{}</th>", column.class(), Escaped(cell)),
        _ => format!("<td{}>{}</td>", column.class(), Escaped(cell)),
    };
    let cells: String = columns.iter().zip(cells).enumerate().map(cell).collect();
    format!("<tr>{cells}</tr>")
}

/// A paragraph.
pub(super) fn paragraph(class: &str, text: &str) -> String {
    format!("<p class=\"{class}\">{}</p>", Escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let bad = "<script>alert('x')</script>&\"\u{202e}\u{7}";
        let shown = Escaped(bad).to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}\u{fffd}");
        let table = table(bad, &[Column::Words("a"), Column::Number("b")], &[vec![bad.into(), bad.into()]]);
        assert!(!table.contains("<script"), "{table}");
        assert!(!paragraph("", bad).contains("<script"));
    }
}
