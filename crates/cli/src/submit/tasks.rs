//! Tasks from the command line or from a file, all of them checked before the first is published.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use trilane_protocol::limits::TaskLimits;
use trilane_protocol::task::Metadata;
use trilane_protocol::{AgentName, Encoding, Priority, Sensitivity, Task};
use trilane_service::Config;

use crate::submit::publish::Submission;
use crate::submit::{SubmitArgs, TaskOptions};
use crate::wait::Key;

/// Largest file of tasks that is read, bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Bad lines of a file that are named.
const MAX_NAMED_PROBLEMS: usize = 10;

/// The tasks that the arguments ask for; at least one.
///
/// # Errors
/// The field at fault, for a file with its line. Nothing of a prompt is repeated.
pub(crate) fn collect(args: &SubmitArgs, config: &Config) -> anyhow::Result<Vec<Submission>> {
    if let Some(file) = &args.file {
        return from_file(file, &args.agent, &config.limits);
    }
    let prompt = match args.prompt.as_deref() {
        Some("-") | None => read_stdin(config.limits.max_task_bytes)?,
        Some(prompt) => prompt.to_owned(),
    };
    let task = Task { stream: args.stream, ..one_task(prompt, args.task.clone()) };
    check(&task, &config.limits).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(vec![Submission::new(args.agent.clone(), task)])
}

/// The tasks of a file of JSON lines; `agent` is taken where a line does not name one.
///
/// # Errors
/// Every bad line, up to a bound, with its number and field.
pub(crate) fn from_file(
    path: &Path,
    agent: &AgentName,
    limits: &TaskLimits,
) -> anyhow::Result<Vec<Submission>> {
    let shown = path.display();
    let bytes = path.metadata().with_context(|| format!("cannot read {shown}"))?.len();
    if bytes > MAX_FILE_BYTES {
        bail!("{shown} has {bytes} bytes, at most {MAX_FILE_BYTES} are read; publish it in parts");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    from_lines(&text, agent, limits)
        .map_err(|problems| anyhow::anyhow!("{shown}: {problems}; nothing was published"))
}

/// The tasks of JSON lines; blank lines are skipped.
fn from_lines(text: &str, agent: &AgentName, limits: &TaskLimits) -> Result<Vec<Submission>, String> {
    let mut submissions = Vec::new();
    let mut problems = Vec::new();
    let mut first_seen: HashMap<Key, usize> = HashMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        match from_line(line, agent, limits) {
            Err(problem) => problems.push(format!("line {number}: {problem}")),
            Ok(submission) => match first_seen.insert(submission.key(), number) {
                Some(earlier) => {
                    problems.push(format!("line {number}: field `id`: line {earlier} has the same"));
                }
                None => submissions.push(submission),
            },
        }
    }
    match (problems.len(), submissions.is_empty()) {
        (0, false) => Ok(submissions),
        (0, true) => Err("found no task, expected a JSON object a line".into()),
        (count, _) => {
            let more = count.saturating_sub(MAX_NAMED_PROBLEMS);
            problems.truncate(MAX_NAMED_PROBLEMS);
            if more > 0 {
                problems.push(format!("and {more} more bad lines"));
            }
            Err(problems.join("\n"))
        }
    }
}

/// One line: a task as it goes over the wire, and perhaps its `agent`.
fn from_line(line: &str, agent: &AgentName, limits: &TaskLimits) -> Result<Submission, String> {
    let mut fields: Metadata = Encoding::Json.decode(line.as_bytes()).map_err(|error| error.to_string())?;
    let agent = match fields.remove("agent") {
        None => agent.clone(),
        Some(named) => {
            let name = named.as_str().ok_or("field `agent`: expected text")?;
            AgentName::new(name).map_err(|error| format!("field `agent`: {error}"))?
        }
    };
    let task: Task =
        Encoding::Json.decode(&Encoding::Json.encode(&fields)).map_err(|error| error.to_string())?;
    check(&task, limits)?;
    Ok(Submission::new(agent, task))
}

fn check(task: &Task, limits: &TaskLimits) -> Result<(), String> {
    task.check(limits).map_err(|error| error.to_string())?;
    let bytes = Encoding::Json.encode(task).len();
    if bytes > limits.max_task_bytes {
        let most = limits.max_task_bytes;
        return Err(format!("the task has {bytes} bytes, expected at most {most} (limits.max_task_bytes)"));
    }
    Ok(())
}

fn one_task(prompt: String, options: TaskOptions) -> Task {
    let sensitivity = match (options.private, options.public) {
        (true, _) => Some(Sensitivity::Private),
        (_, true) => Some(Sensitivity::Public),
        _ => None,
    };
    Task {
        id: options.id,
        prompt: Some(prompt),
        sensitivity,
        tags: options.tags,
        complexity: options.complexity,
        model: options.model,
        max_tokens: options.max_tokens,
        temperature: options.temperature,
        top_p: options.top_p,
        seed: options.seed,
        priority: options.priority.map_or(Priority::default(), Priority::from),
        deadline: options.deadline,
        max_cost_usd: options.max_cost_usd,
        ..Task::default()
    }
}

/// Reads a prompt from stdin, one byte more than a task may have, so that too long is told apart.
fn read_stdin(max_bytes: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin().take(most).read_to_string(&mut text).context("cannot read the prompt from stdin")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        submit: SubmitArgs,
    }

    fn agent() -> AgentName {
        AgentName::new("sample").unwrap()
    }

    fn lines(text: &str) -> Result<Vec<Submission>, String> {
        from_lines(text, &agent(), &TaskLimits::default())
    }

    fn collected(arguments: &[&str]) -> anyhow::Result<Vec<Submission>> {
        let line = Line::try_parse_from(["submit"].iter().chain(arguments))?;
        collect(&line.submit, &trilane_service::config::load_from(None, []).unwrap())
    }

    #[test]
    fn options_become_fields_of_the_task() {
        let arguments = [
            "Say hi",
            "--agent",
            "ops",
            "--private",
            "--max-tokens",
            "9",
            "--temperature",
            "0.5",
            "--priority",
            "high",
            "--deadline",
            "5m",
            "--tag",
            "a",
            "--tag",
            "b",
            "--id",
            "t-1",
            "--stream",
        ];
        let submission = collected(&arguments).unwrap().remove(0);
        let expected: Task = serde_json::from_value(serde_json::json!({
            "id": "t-1", "prompt": "Say hi", "sensitivity": "private", "max_tokens": 9, "temperature": 0.5,
            "priority": "high", "deadline": 300.0, "tags": ["a", "b"], "stream": true,
        }))
        .unwrap();
        assert_eq!((submission.agent.as_str(), submission.task), ("ops", expected));
    }

    #[test]
    fn options_of_one_task_are_refused_beside_a_file() {
        for option in [["--private", "--json"], ["--id", "x"], ["--max-tokens", "3"]] {
            let error = collected(&[&["--file", "x.jsonl"], &option[..]].concat()).unwrap_err().to_string();
            assert!(error.contains("cannot be used with"), "{error}");
        }
        assert!(collected(&["--json"]).is_err(), "neither prompt nor file");
        assert!(collected(&["x", "--private", "--public"]).is_err());
    }

    #[test]
    fn a_setting_out_of_range_names_its_field() {
        let error = collected(&["x", "--temperature", "3"]).unwrap_err().to_string();
        assert!(error.contains("field `temperature`"), "{error}");
    }

    #[test]
    fn a_line_may_name_its_agent() {
        let found = lines("{\"prompt\":\"a\"}\n\n{\"agent\":\"ops\",\"prompt\":\"b\"}\n").unwrap();
        let agents: Vec<&str> = found.iter().map(|submission| submission.agent.as_str()).collect();
        assert_eq!(agents, ["sample", "ops"]);
    }

    #[test]
    fn bad_lines_are_named_with_their_fields_and_without_their_text() {
        let text = "{\"prompt\":\"ok\"}\n{\"promt\":\"SECRET\"}\n{\"prompt\":\"x\",\"max_tokens\":\"SECRET\"}\n\
                    {\"prompt\":\"x\",\"agent\":\"a.b\"}\nSECRET\n{\"prompt\":\"x\",\"top_p\":0}";
        let problems = lines(text).unwrap_err();
        for expected in [
            "line 2: ",
            "did you mean `prompt`?",
            "line 3: field `max_tokens`",
            "line 4: field `agent`",
            "line 5: expected a JSON object",
            "line 6: field `top_p`",
        ] {
            assert!(problems.contains(expected), "{expected} is not in\n{problems}");
        }
        assert!(!problems.contains("SECRET") && !problems.contains("line 1:"), "{problems}");
    }

    #[test]
    fn an_id_stands_once_in_a_file_for_each_agent() {
        let twice = "{\"id\":\"x\",\"prompt\":\"a\"}\n{\"id\":\"x\",\"prompt\":\"b\"}";
        assert_eq!(lines(twice).unwrap_err(), "line 2: field `id`: line 1 has the same");
        assert!(
            lines("{\"id\":\"x\",\"prompt\":\"a\"}\n{\"agent\":\"b\",\"id\":\"x\",\"prompt\":\"b\"}").is_ok()
        );
        assert!(lines(" \n").unwrap_err().contains("found no task"));
    }

    #[test]
    fn many_bad_lines_are_counted_and_not_all_named() {
        let problems = lines(&"{}\n".repeat(25)).unwrap_err();
        assert_eq!(problems.lines().count(), MAX_NAMED_PROBLEMS + 1);
        assert!(problems.ends_with("and 15 more bad lines"), "{problems}");
    }
}
