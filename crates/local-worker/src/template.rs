//! The model's own chat template, rendered as transformers renders it.
//!
//! Templates are Jinja2 written for Python. The environment here is that of transformers' `apply_chat_template`:
//! `trim_blocks`, `lstrip_blocks`, `break` and `continue`, Python's string and dict methods, `raise_exception`,
//! `strftime_now`, and a `tojson` that writes what `json.dumps` writes. `tests/templates.rs` holds it against
//! the reference.

use jiff::Zoned;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use trilane_protocol::{Message, Role};

/// The template's name in its environment; without an extension, so that nothing is escaped for HTML.
const NAME: &str = "chat template";

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    beginning: String,
    end: String,
}

/// Why a conversation could not be rendered, or a template not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The template itself refuses the conversation.
    #[error("the model's chat template refuses this conversation: {0}")]
    Refused(String),
    /// The template cannot be compiled or run.
    #[error("the model's chat template does not work: {0}")]
    Broken(Error),
}

/// What a template passed to `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            if let Some(Refusal(reason)) = source.downcast_ref() {
                return Self::Refused(reason.clone());
            }
            cause = source.source();
        }
        Self::Broken(error)
    }
}

impl ChatTemplate {
    /// Compiles `source`. `beginning` and `end` are the texts of the model's begin and end tokens; a template
    /// may write them.
    ///
    /// # Errors
    /// [`TemplateError::Broken`] with the line at fault.
    pub fn new(source: &str, beginning: &str, end: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_template_owned(NAME, without_generation_tags(source))?;
        Ok(Self { environment, beginning: beginning.into(), end: end.into() })
    }

    /// Renders a conversation up to where the model's answer begins. `now` is what a template gets that asks
    /// for the date.
    ///
    /// # Errors
    /// [`TemplateError`]; messages repeat nothing of the conversation but what the template says itself.
    pub fn render(&self, messages: &[Message], now: &Zoned) -> Result<String, TemplateError> {
        let now = now.clone();
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| context! { role => role(message.role), content => message.content.as_str() })
            .collect();
        let strftime_now = move |format: String| now.strftime(&format).to_string();
        let variables = context! {
            messages,
            add_generation_prompt => true,
            bos_token => self.beginning.as_str(),
            eos_token => self.end.as_str(),
            strftime_now => Value::from_function(strftime_now),
        };
        Ok(self.environment.get_template(NAME)?.render(variables)?)
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn raise_exception(reason: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Refusal(reason)))
}

/// `{% generation %}` marks answers for training and prints what it encloses; here it becomes a block that
/// always holds.
fn without_generation_tags(source: &str) -> String {
    let mut source = source.to_owned();
    for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
        source = source.replace(&format!("{open} generation {close}"), &format!("{open} if true {close}"));
        source = source.replace(&format!("{open} endgeneration {close}"), &format!("{open} endif {close}"));
    }
    source
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`.
#[expect(clippy::needless_pass_by_value, reason = "the signature that minijinja asks of a filter")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Both are accepted with the one value that transformers gives them by default.
    let _: Option<bool> = options.get("ensure_ascii")?;
    let sorted: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let mut out = String::new();
    let style = JsonStyle { indent, sorted: sorted.unwrap_or(false) };
    write_json(&mut out, value, style, 0)?;
    Ok(out)
}

#[derive(Clone, Copy)]
struct JsonStyle {
    indent: Option<usize>,
    sorted: bool,
}

fn write_json(out: &mut String, value: &Value, style: JsonStyle, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.push_str("null"),
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sorted {
                keys.sort();
            }
            write_items(out, '{', '}', &keys, style, depth, |out, key| {
                out.push_str(&quoted(&key.to_string()));
                out.push_str(": ");
                write_json(out, &value.get_item(key)?, style, depth + 1)
            })?;
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            write_items(out, '[', ']', &items, style, depth, |out, item| {
                write_json(out, item, style, depth + 1)
            })?;
        }
        // Values print as in Python, where truth has a capital letter.
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        _ => out.push_str(&quoted(&value.to_string())),
    }
    Ok(())
}

fn write_items(
    out: &mut String,
    open: char,
    close: char,
    items: &[Value],
    style: JsonStyle,
    depth: usize,
    mut write: impl FnMut(&mut String, &Value) -> Result<(), Error>,
) -> Result<(), Error> {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        out.push_str(match (index, style.indent) {
            (0, _) => "",
            (_, None) => ", ",
            (_, Some(_)) => ",",
        });
        new_line(out, style, depth + 1);
        write(out, item)?;
    }
    if !items.is_empty() {
        new_line(out, style, depth);
    }
    out.push(close);
    Ok(())
}

fn new_line(out: &mut String, style: JsonStyle, depth: usize) {
    if let Some(indent) = style.indent {
        out.push('\n');
        out.push_str(&" ".repeat(indent * depth));
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Vec<Message> {
        vec![Message { role: Role::User, content: "secret".into() }]
    }

    fn render(source: &str) -> Result<String, TemplateError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(&conversation(), &Zoned::now())
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_broken_template() {
        let error = render("{{ raise_exception('only one system message') }}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model's chat template refuses this conversation: only one system message"
        );
        assert!(matches!(render("{{ nothing.at.all }}").unwrap_err(), TemplateError::Broken(_)));
        let error = ChatTemplate::new("{% for %}", "", "").unwrap_err().to_string();
        assert!(error.contains("does not work"), "{error}");
    }

    #[test]
    fn errors_repeat_nothing_of_the_conversation() {
        let error = render("{{ messages[0].content + 1 }}").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn training_marks_are_left_out() {
        let text =
            render("{%- for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}");
        assert_eq!(text.unwrap(), "secret");
    }
}
