//! The part of Go's templates that people use with `--format`.
//!
//! `lexer` cuts a template into text and tokens, `parser` makes a tree of them, `evaluate` walks
//! the tree over JSON, `functions` are the words such as `json` and `join`. A template cannot
//! loop without data and cannot call itself, so every rendering ends.

mod evaluate;
mod functions;
mod lexer;
mod parser;

use serde_json::Value;
use thiserror::Error;

/// A template that has been understood.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parser::Node>,
}

/// What is wrong with a template, or with its meeting the data.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// `{{` without `}}`.
    #[error("an action is not closed with }}}}")]
    OpenAction,
    /// A quoted text without its end.
    #[error("a quoted text is not closed")]
    OpenText,
    /// A character that has no place in an action.
    #[error("unexpected {0}")]
    Unexpected(String),
    /// `if`, `range` or `with` without `end`.
    #[error("{0} has no end")]
    NoEnd(&'static str),
    /// A word that is no function.
    #[error("there is no function \"{0}\"")]
    NoFunction(String),
    /// A variable nobody has set.
    #[error("there is no variable \"${0}\"")]
    NoVariable(String),
    /// A field the data does not have.
    #[error("there is no field \"{0}\"")]
    NoField(String),
    /// Something that has no fields was asked for one.
    #[error("\"{0}\" is asked of something that has no fields")]
    NotAnObject(String),
    /// A function got what it cannot work with.
    #[error("{0} cannot be used like this")]
    Arguments(String),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            nodes: parser::parse(lexer::split(text)?)?,
        })
    }

    /// Fills it with data.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        evaluate::render(&self.nodes, data)
    }

    /// The names of the fields shown, for the heading of a table: each action's last field.
    pub(crate) fn fill_headings(&self, heading: &dyn Fn(&str) -> String) -> String {
        let mut line = String::new();
        for node in &self.nodes {
            match node {
                parser::Node::Text(text) => line.push_str(text),
                parser::Node::Print(pipeline) => {
                    if let Some(field) = pipeline.first_field() {
                        line.push_str(&heading(field));
                    }
                }
                _ => {}
            }
        }
        line
    }
}

/// `\t` and `\n` as people type them on a command line, where the shell leaves them alone.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests;
