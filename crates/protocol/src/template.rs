//! Prompt templates of pipeline steps: `{{input}}` and `{{steps.NAME.text}}`, and nothing else.

/// Checks that a template names only `input` and the texts of earlier steps.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn check(template: &str, earlier: &[&str]) -> Result<(), String> {
    placeholders(template).try_for_each(|placeholder| match placeholder {
        Placeholder::Text(_) | Placeholder::Input => Ok(()),
        Placeholder::StepText(name) if earlier.contains(&name) => Ok(()),
        Placeholder::StepText(name) => Err(format!("`{name}` is not an earlier step of this pipeline")),
        Placeholder::Unknown(text) => {
            Err(format!("`{{{{{text}}}}}` is unknown: expected `{{{{input}}}}` or `{{{{steps.NAME.text}}}}`"))
        }
    })
}

/// Fills a checked template. Text that came from a model is inserted as it is and never read as a template.
pub fn render(template: &str, input: &str, text_of: impl Fn(&str) -> Option<String>) -> String {
    placeholders(template)
        .map(|placeholder| match placeholder {
            Placeholder::Text(text) => text.to_owned(),
            Placeholder::Input => input.to_owned(),
            Placeholder::StepText(name) => text_of(name).unwrap_or_default(),
            Placeholder::Unknown(_) => String::new(),
        })
        .collect()
}

enum Placeholder<'a> {
    Text(&'a str),
    Input,
    StepText(&'a str),
    Unknown(&'a str),
}

fn placeholders(template: &str) -> impl Iterator<Item = Placeholder<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(inner) = rest.strip_prefix("{{") else {
            let end = rest.find("{{").unwrap_or(rest.len());
            let (text, tail) = rest.split_at(end);
            rest = tail;
            return Some(Placeholder::Text(text));
        };
        let Some((name, tail)) = inner.split_once("}}") else {
            return Some(Placeholder::Unknown(std::mem::take(&mut rest)));
        };
        rest = tail;
        Some(placeholder(name.trim()))
    })
}

fn placeholder(name: &str) -> Placeholder<'_> {
    if name == "input" {
        return Placeholder::Input;
    }
    match name.strip_prefix("steps.").and_then(|tail| tail.strip_suffix(".text")) {
        Some(step) => Placeholder::StepText(step),
        None => Placeholder::Unknown(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_the_input_and_earlier_steps() {
        let text = render("Format {{ steps.a.text }} for {{input}}!", "me", |name| {
            (name == "a").then(|| "{{input}}".to_owned())
        });
        assert_eq!(text, "Format {{input}} for me!", "a model's text is never read as a template");
    }

    #[test]
    fn a_template_is_refused_where_it_names_what_is_not_there() {
        let earlier = ["a"];
        assert!(check("{{input}} {{steps.a.text}} {single}", &earlier).is_ok());
        assert!(check("{{steps.b.text}}", &earlier).unwrap_err().contains("not an earlier step"));
        assert!(check("{{inptu}}", &earlier).unwrap_err().contains("expected `{{input}}`"));
        assert!(check("{{input", &earlier).is_err());
    }
}
