//! Makes a tree of a template's pieces.

use std::collections::VecDeque;

use serde_json::Value;

use super::TemplateError;
use super::functions;
use super::lexer::{Piece, Token};

/// Something a template does.
#[derive(Debug)]
pub(super) enum Node {
    /// Shows text.
    Text(String),
    /// Shows a value, or sets a variable and shows nothing.
    Print(Pipeline),
    /// The first branch whose condition holds, or else the other nodes.
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    /// The nodes for each element.
    Range(Range),
    /// The nodes with another dot, if it is not empty.
    With(Pipeline, Vec<Node>, Vec<Node>),
}

/// `{{range …}}`.
#[derive(Debug)]
pub(super) struct Range {
    /// Variables for index and element, as far as named.
    pub(super) variables: Vec<String>,
    /// What to walk over.
    pub(super) over: Pipeline,
    /// What to do for each.
    pub(super) body: Vec<Node>,
    /// What to do when there is none.
    pub(super) otherwise: Vec<Node>,
}

/// Commands, each given the result of the one before.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    /// A variable to set.
    pub(super) assign: Option<String>,
    /// Operand lists.
    pub(super) commands: Vec<Vec<Operand>>,
}

impl Pipeline {
    /// The last name of the first field that is used.
    pub(super) fn first_field(&self) -> Option<&str> {
        self.commands
            .iter()
            .flatten()
            .find_map(|operand| match operand {
                Operand::Fields(fields) => fields.last().map(String::as_str),
                Operand::Group(inner, _) => inner.first_field(),
                _ => None,
            })
    }
}

/// A value, or a function.
#[derive(Debug)]
pub(super) enum Operand {
    /// The dot, or a field of it.
    Fields(Vec<String>),
    /// A variable, or a field of it.
    Variable(String, Vec<String>),
    /// A constant.
    Literal(Value),
    /// A function to call.
    Function(String),
    /// Parentheses, and a field of their result.
    Group(Pipeline, Vec<String>),
}

/// Why a list of nodes ended.
enum Stop {
    Input,
    End,
    Else(VecDeque<Token>),
}

/// Makes a tree of all pieces.
pub(super) fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = VecDeque::from(pieces);
    match nodes(&mut pieces)? {
        (nodes, Stop::Input) => Ok(nodes),
        (_, Stop::End) => Err(TemplateError::Unexpected("end".to_owned())),
        (_, Stop::Else(_)) => Err(TemplateError::Unexpected("else".to_owned())),
    }
}

fn nodes(pieces: &mut VecDeque<Piece>) -> Result<(Vec<Node>, Stop), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.pop_front() {
        let mut tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => VecDeque::from(tokens),
        };
        let keyword = match tokens.front() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match keyword.as_str() {
            "end" => return Ok((nodes, Stop::End)),
            "else" => {
                tokens.pop_front();
                return Ok((nodes, Stop::Else(tokens)));
            }
            "if" => {
                tokens.pop_front();
                nodes.push(condition(tokens, pieces)?);
            }
            "with" => {
                tokens.pop_front();
                let value = whole_pipeline(tokens)?;
                let (body, otherwise) = body(pieces, "with")?;
                nodes.push(Node::With(value, body, otherwise));
            }
            "range" => {
                tokens.pop_front();
                nodes.push(range(tokens, pieces)?);
            }
            _ => nodes.push(Node::Print(whole_pipeline(tokens)?)),
        }
    }
    Ok((nodes, Stop::Input))
}

fn condition(tokens: VecDeque<Token>, pieces: &mut VecDeque<Piece>) -> Result<Node, TemplateError> {
    let mut branches = Vec::new();
    let mut tokens = tokens;
    loop {
        let test = whole_pipeline(tokens)?;
        let (nodes_here, stop) = nodes(pieces)?;
        branches.push((test, nodes_here));
        match stop {
            Stop::Input => return Err(TemplateError::NoEnd("if")),
            Stop::End => return Ok(Node::If(branches, Vec::new())),
            Stop::Else(mut more) => {
                if more.pop_front() != Some(Token::Word("if".to_owned())) {
                    return Ok(Node::If(branches, until_end(pieces, "if")?));
                }
                tokens = more;
            }
        }
    }
}

fn range(mut tokens: VecDeque<Token>, pieces: &mut VecDeque<Piece>) -> Result<Node, TemplateError> {
    let mut variables = Vec::new();
    if tokens.contains(&Token::Assign) {
        while let Some(token) = tokens.pop_front() {
            match token {
                Token::Variable(name) => variables.push(name),
                Token::Comma => {}
                Token::Assign => break,
                other => return Err(unexpected(&other)),
            }
        }
    }
    let over = whole_pipeline(tokens)?;
    let (body, otherwise) = body(pieces, "range")?;
    Ok(Node::Range(Range {
        variables,
        over,
        body,
        otherwise,
    }))
}

/// Nodes up to `end`, and those after an `else`.
fn body(
    pieces: &mut VecDeque<Piece>,
    what: &'static str,
) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
    match nodes(pieces)? {
        (_, Stop::Input) => Err(TemplateError::NoEnd(what)),
        (body, Stop::End) => Ok((body, Vec::new())),
        (body, Stop::Else(_)) => Ok((body, until_end(pieces, what)?)),
    }
}

fn until_end(pieces: &mut VecDeque<Piece>, what: &'static str) -> Result<Vec<Node>, TemplateError> {
    match nodes(pieces)? {
        (nodes, Stop::End) => Ok(nodes),
        _ => Err(TemplateError::NoEnd(what)),
    }
}

fn whole_pipeline(mut tokens: VecDeque<Token>) -> Result<Pipeline, TemplateError> {
    let pipeline = pipeline(&mut tokens)?;
    match tokens.front() {
        None if pipeline.commands.iter().any(Vec::is_empty) => {
            Err(TemplateError::Unexpected("empty action".to_owned()))
        }
        None => Ok(pipeline),
        Some(token) => Err(unexpected(token)),
    }
}

/// Reads up to the end or a closing parenthesis.
fn pipeline(tokens: &mut VecDeque<Token>) -> Result<Pipeline, TemplateError> {
    let mut assign = None;
    if let (Some(Token::Variable(name)), Some(Token::Assign)) = (tokens.front(), tokens.get(1)) {
        assign = Some(name.clone());
        tokens.drain(..2);
    }
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.front() {
        if *token == Token::Close {
            break;
        }
        let token = tokens.pop_front().expect("its front was just looked at");
        if token == Token::Pipe {
            commands.push(Vec::new());
            continue;
        }
        let operand = operand(token, tokens)?;
        commands
            .last_mut()
            .expect("there is one from the start")
            .push(operand);
    }
    Ok(Pipeline { assign, commands })
}

fn operand(token: Token, tokens: &mut VecDeque<Token>) -> Result<Operand, TemplateError> {
    match token {
        Token::Fields(fields, _) => Ok(Operand::Fields(fields)),
        Token::Literal(value) => Ok(Operand::Literal(value)),
        Token::Variable(name) => Ok(Operand::Variable(name, glued_fields(tokens))),
        Token::Word(word) => match word.as_str() {
            "true" => Ok(Operand::Literal(Value::Bool(true))),
            "false" => Ok(Operand::Literal(Value::Bool(false))),
            "nil" => Ok(Operand::Literal(Value::Null)),
            name if functions::exists(name) => Ok(Operand::Function(word)),
            _ => Err(TemplateError::NoFunction(word)),
        },
        Token::Open => {
            let inner = pipeline(tokens)?;
            if tokens.pop_front() != Some(Token::Close) {
                return Err(TemplateError::Unexpected(
                    "parenthesis that stays open".to_owned(),
                ));
            }
            Ok(Operand::Group(inner, glued_fields(tokens)))
        }
        other => Err(unexpected(&other)),
    }
}

fn glued_fields(tokens: &mut VecDeque<Token>) -> Vec<String> {
    match tokens.front() {
        Some(Token::Fields(fields, true)) => {
            let fields = fields.clone();
            tokens.pop_front();
            fields
        }
        _ => Vec::new(),
    }
}

fn unexpected(token: &Token) -> TemplateError {
    let text = match token {
        Token::Fields(fields, _) => format!("\".{}\"", fields.join(".")),
        Token::Variable(name) => format!("\"${name}\""),
        Token::Literal(value) => value.to_string(),
        Token::Word(word) => format!("\"{word}\""),
        Token::Pipe => "\"|\"".to_owned(),
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
        Token::Assign => "\":=\"".to_owned(),
        Token::Comma => "\",\"".to_owned(),
    };
    TemplateError::Unexpected(text)
}
