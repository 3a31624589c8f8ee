//! A command line for the image store, for trying it and for measuring it.
//!
//! `image-store ROOT load FILE|- | list | resolve TEXT | rm TEXT | tag SOURCE TARGET | import FILE NAME`
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use dhow_image::{ImageStore, ImportOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (root, command) = arguments
        .split_first()
        .ok_or("usage: image-store ROOT COMMAND …")?;
    let store = ImageStore::open(Path::new(root)).map_err(chain)?;
    match command {
        ["load", path] if Path::new(path).is_dir() => {
            let loaded = store
                .load_layout(Path::new(path), &mut |_| ())
                .map_err(chain)?;
            println!("{loaded:#?}");
        }
        ["load", path] => println!(
            "{:#?}",
            store.load(open(path)?, &mut |_| ()).map_err(chain)?
        ),
        ["list"] => println!("{:#?}", store.list()?),
        ["resolve", text] => println!("{:#?}", store.resolve(text).map_err(chain)?),
        ["rm", text] => println!("{:?}", store.remove(text, false, &|_| None).map_err(chain)?),
        ["tag", source, target] => store.tag(source, target).map_err(chain)?,
        ["import", path, name] => {
            let id = store.import(open(path)?, &ImportOptions::default(), Some(name.parse()?));
            println!("{}", id.map_err(chain)?);
        }
        other => return Err(format!("unknown command {other:?}").into()),
    }
    Ok(())
}

fn open(path: &str) -> Result<Box<dyn Read>, Box<dyn Error>> {
    if path == "-" {
        Ok(Box::new(stdin().lock()))
    } else {
        Ok(Box::new(File::open(path)?))
    }
}

/// The error and all its causes on one line.
fn chain(error: impl Error) -> Box<dyn Error> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text.into()
}
