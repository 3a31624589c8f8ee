//! Walks a template's tree over JSON.

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::parser::{Node, Operand, Pipeline, Range};

/// The dot, and the variables set so far; the first is `$`, the data as a whole.
struct Scope {
    dot: Value,
    variables: Vec<(String, Value)>,
}

/// Renders all nodes.
pub(super) fn render(nodes: &[Node], data: &Value) -> Result<String, TemplateError> {
    let mut output = String::new();
    let variables = vec![(String::new(), data.clone())];
    let mut scope = Scope {
        dot: data.clone(),
        variables,
    };
    walk(nodes, &mut scope, &mut output)?;
    Ok(output)
}

fn walk(nodes: &[Node], scope: &mut Scope, output: &mut String) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => output.push_str(text),
            Node::Print(pipeline) => {
                let value = evaluate(pipeline, scope)?;
                match &pipeline.assign {
                    Some(name) => scope.set(name, value),
                    None => output.push_str(&functions::show(&value)),
                }
            }
            Node::If(branches, otherwise) => {
                let mut chosen = otherwise;
                for (test, body) in branches {
                    if functions::truth(&evaluate(test, scope)?) {
                        chosen = body;
                        break;
                    }
                }
                walk(chosen, scope, output)?;
            }
            Node::With(pipeline, body, otherwise) => {
                let value = evaluate(pipeline, scope)?;
                if functions::truth(&value) {
                    inside(value, &[], body, scope, output)?;
                } else {
                    walk(otherwise, scope, output)?;
                }
            }
            Node::Range(range) => walk_range(range, scope, output)?,
        }
    }
    Ok(())
}

fn walk_range(range: &Range, scope: &mut Scope, output: &mut String) -> Result<(), TemplateError> {
    let elements: Vec<(Value, Value)> = match evaluate(&range.over, scope)? {
        Value::Array(list) => list
            .into_iter()
            .enumerate()
            .map(|(index, value)| (index.into(), value))
            .collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
        Value::Null => Vec::new(),
        _ => return Err(TemplateError::Arguments("range".to_owned())),
    };
    if elements.is_empty() {
        return walk(&range.otherwise, scope, output);
    }
    for (index, value) in elements {
        let bound: Vec<(String, Value)> = match range.variables.as_slice() {
            [] => Vec::new(),
            [element] => vec![(element.clone(), value.clone())],
            [key, element, ..] => {
                vec![(key.clone(), index), (element.clone(), value.clone())]
            }
        };
        inside(value, &bound, &range.body, scope, output)?;
    }
    Ok(())
}

/// Walks nodes with another dot; variables set inside end with it.
fn inside(
    dot: Value,
    bound: &[(String, Value)],
    nodes: &[Node],
    scope: &mut Scope,
    output: &mut String,
) -> Result<(), TemplateError> {
    let depth = scope.variables.len();
    let outer = std::mem::replace(&mut scope.dot, dot);
    scope.variables.extend_from_slice(bound);
    let result = walk(nodes, scope, output);
    scope.variables.truncate(depth);
    scope.dot = outer;
    result
}

impl Scope {
    fn set(&mut self, name: &str, value: Value) {
        self.variables.push((name.to_owned(), value));
    }

    fn variable(&self, name: &str) -> Result<&Value, TemplateError> {
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(candidate, _)| candidate == name);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| TemplateError::NoVariable(name.to_owned()))
    }
}

fn evaluate(pipeline: &Pipeline, scope: &mut Scope) -> Result<Value, TemplateError> {
    let mut result = None;
    for command in &pipeline.commands {
        result = Some(call(command, result, scope)?);
    }
    Ok(result.unwrap_or(Value::Null))
}

/// A value, or a function with its arguments, the piped one last.
fn call(
    command: &[Operand],
    piped: Option<Value>,
    scope: &mut Scope,
) -> Result<Value, TemplateError> {
    let [first, rest @ ..] = command else {
        return Err(TemplateError::Unexpected("empty command".to_owned()));
    };
    let mut arguments = Vec::new();
    for operand in rest {
        arguments.push(value(operand, scope)?);
    }
    arguments.extend(piped);
    match first {
        Operand::Function(name) => functions::call(name, &arguments),
        // `.Label "key"` is the one method listings have.
        Operand::Fields(fields) if !arguments.is_empty() => match fields.as_slice() {
            [name] if name == "Label" => Ok(label(&scope.dot, &arguments[0])),
            _ => Err(TemplateError::Arguments(format!(".{}", fields.join(".")))),
        },
        operand if arguments.is_empty() => value(operand, scope),
        _ => Err(TemplateError::Arguments("a value".to_owned())),
    }
}

fn value(operand: &Operand, scope: &mut Scope) -> Result<Value, TemplateError> {
    match operand {
        Operand::Fields(fields) => field(&scope.dot, fields),
        Operand::Variable(name, fields) => field(scope.variable(name)?, fields),
        Operand::Literal(value) => Ok(value.clone()),
        Operand::Function(name) => functions::call(name, &[]),
        Operand::Group(pipeline, fields) => {
            let result = evaluate(pipeline, scope)?;
            field(&result, fields)
        }
    }
}

/// Follows names down. A name is found in any case: Go's structs say `ID` where their JSON says
/// `Id`, and people use both.
fn field(value: &Value, names: &[String]) -> Result<Value, TemplateError> {
    let mut value = value;
    for name in names {
        let Value::Object(map) = value else {
            return Err(TemplateError::NotAnObject(name.clone()));
        };
        let similar = || {
            map.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, v)| v)
        };
        value = map
            .get(name)
            .or_else(similar)
            .ok_or_else(|| TemplateError::NoField(name.clone()))?;
    }
    Ok(value.clone())
}

/// A label out of `key=value,key=value`, as listings have them.
fn label(row: &Value, key: &Value) -> Value {
    let labels = row
        .get("Labels")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let wanted = key.as_str().unwrap_or_default();
    let found = labels.split(',').find_map(|label| {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        (name == wanted).then(|| value.to_owned())
    });
    Value::String(found.unwrap_or_default())
}
