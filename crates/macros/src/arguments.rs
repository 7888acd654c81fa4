//! `name = value` arguments of an attribute.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitInt, LitStr, MetaNameValue, Result, Token};

/// The arguments of an attribute, each with one of the known names.
pub(crate) struct Arguments {
    pairs: Vec<(Ident, Expr)>,
}

impl Arguments {
    /// Reads them; `usage` says what the attribute takes.
    pub(crate) fn parse(tokens: TokenStream, known: &[&str], usage: &str) -> Result<Self> {
        let parsed = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut pairs: Vec<(Ident, Expr)> = Vec::new();
        for pair in parsed {
            let name = pair
                .path
                .get_ident()
                .filter(|name| known.iter().any(|one| *name == one));
            let Some(name) = name else {
                let message = format!("unknown argument; this attribute takes {usage}");
                return Err(Error::new_spanned(pair.path, message));
            };
            if pairs.iter().any(|(other, _)| other == name) {
                return Err(Error::new_spanned(name, "this argument stands twice"));
            }
            pairs.push((name.clone(), pair.value));
        }
        Ok(Self { pairs })
    }

    pub(crate) fn expression(&self, name: &str) -> Option<&Expr> {
        let pair = self.pairs.iter().find(|(known, _)| known == name)?;
        Some(&pair.1)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>> {
        let number = |number: &LitInt| number.base10_parse();
        match self.expression(name) {
            None => Ok(None),
            Some(Expr::Lit(ExprLit {
                lit: Lit::Int(literal),
                ..
            })) => number(literal).map(Some),
            Some(other) => {
                let message = format!("`{name}` takes a number, as in `{name} = 4`");
                Err(Error::new_spanned(other, message))
            }
        }
    }

    pub(crate) fn text(&self, name: &str, example: &str) -> Result<Option<&LitStr>> {
        match self.expression(name) {
            None => Ok(None),
            Some(Expr::Lit(ExprLit {
                lit: Lit::Str(literal),
                ..
            })) => Ok(Some(literal)),
            Some(other) => {
                let message = format!("`{name}` takes a text, as in `{name} = \"{example}\"`");
                Err(Error::new_spanned(other, message))
            }
        }
    }
}
