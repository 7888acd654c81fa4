//! `select!`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, Pat, Result, Token};

use crate::group::BRANCHES_MAX;

mod keyword {
    syn::custom_keyword!(biased);
}

/// `cx; biased; pattern = future, if guard => handler, .. else => handler`.
struct Select {
    cx: Expr,
    is_biased: bool,
    arms: Vec<Arm>,
    otherwise: Option<Expr>,
}

struct Arm {
    pattern: Pat,
    future: Expr,
    guard: Option<Expr>,
    handler: Expr,
}

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let cx: Expr = input.parse()?;
        if !input.peek(Token![;]) {
            let message = "`select!` begins with the context: `select! { cx; .. }`";
            return Err(Error::new_spanned(cx, message));
        }
        input.parse::<Token![;]>()?;
        let is_biased = input.peek(keyword::biased) && input.peek2(Token![;]);
        if is_biased {
            input.parse::<keyword::biased>()?;
            input.parse::<Token![;]>()?;
        }
        let mut select = Self {
            cx,
            is_biased,
            arms: Vec::new(),
            otherwise: None,
        };
        while !input.is_empty() {
            if select.otherwise.is_some() {
                return Err(input.error("nothing follows `else`"));
            }
            if input.peek(Token![else]) {
                input.parse::<Token![else]>()?;
                input.parse::<Token![=>]>()?;
                select.otherwise = Some(handler(input)?);
            } else {
                select.arms.push(input.parse()?);
            }
        }
        let count = select.arms.len();
        if (1..=BRANCHES_MAX).contains(&count) {
            Ok(select)
        } else {
            let message = format!("`select!` takes 1 to {BRANCHES_MAX} branches, not {count}");
            Err(Error::new(Span::call_site(), message))
        }
    }
}

impl Parse for Arm {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        if !input.peek(Token![=]) || input.peek(Token![=>]) {
            return Err(input.error("a branch is written `pattern = future => handler`"));
        }
        input.parse::<Token![=]>()?;
        let future = input.parse()?;
        let mut guard = None;
        if input.peek(Token![,]) {
            let comma: Token![,] = input.parse()?;
            if !input.peek(Token![if]) {
                let message = "expected `=> handler`, or `, if guard => handler`";
                return Err(Error::new_spanned(comma, message));
            }
            input.parse::<Token![if]>()?;
            guard = Some(input.parse()?);
        }
        if !input.peek(Token![=>]) {
            return Err(input.error("expected `=>` and a handler"));
        }
        input.parse::<Token![=>]>()?;
        Ok(Self {
            pattern,
            future,
            guard,
            handler: handler(input)?,
        })
    }
}

/// A block, or an expression with a comma unless it is the last.
fn handler(input: ParseStream<'_>) -> Result<Expr> {
    let is_block = input.peek(syn::token::Brace);
    let handler: Expr = if is_block {
        let block: syn::Block = input.parse()?;
        Expr::Block(syn::ExprBlock {
            attrs: Vec::new(),
            label: None,
            block,
        })
    } else {
        input.parse()?
    };
    let comma: Option<Token![,]> = input.parse()?;
    if comma.is_none() && !is_block && !input.is_empty() {
        return Err(input.error("expected a comma after the handler"));
    }
    Ok(handler)
}

pub(crate) fn select(input: TokenStream) -> Result<TokenStream> {
    let Select {
        cx,
        is_biased,
        arms,
        otherwise,
    } = syn::parse2(input)?;
    let rule = if is_biased {
        quote!(biased())
    } else {
        quote!(fair(__asupersync_cx))
    };
    let ends: Vec<Ident> = (0..arms.len())
        .map(|index| format_ident!("__asupersync_end_{index}"))
        .collect();
    let branches = arms.iter().map(branch);
    let handlers = arms
        .iter()
        .zip(&ends)
        .enumerate()
        .map(|(index, (arm, end))| {
            let Arm {
                pattern, handler, ..
            } = arm;
            quote! {
                ::core::option::Option::Some(#index) => match #end {
                    ::core::option::Option::Some(#pattern) => #handler,
                    _ => ::core::unreachable!("the branch ended with what its pattern takes"),
                }
            }
        });
    let otherwise = otherwise.map_or_else(
        || {
            quote! {
                ::core::panic!("every branch of this `select!` is disabled, and it has no `else`")
            }
        },
        |otherwise| quote!(#otherwise),
    );
    Ok(quote! {{
        let __asupersync_cx = &(#cx);
        let mut __asupersync_rule = ::asupersync::combinator::FirstMatch::#rule;
        let (#(#ends,)*) = ::asupersync::combinator::FirstMatch::ends(
            ::asupersync::combinator::settle_with(
                __asupersync_cx,
                (#(#branches,)*),
                &mut __asupersync_rule,
            )
            .await,
        );
        #(let #ends = ::asupersync::combinator::FirstMatch::value(#ends);)*
        // tidy(allow): whether there is anything to expect depends on the caller's pattern
        #[allow(unreachable_patterns, unused_variables, reason = "a pattern may take everything")]
        match __asupersync_rule.winner() {
            #(#handlers)*
            _ => #otherwise,
        }
    }})
}

/// A branch that ends well only if its guard holds and its pattern takes the output.
fn branch(arm: &Arm) -> TokenStream {
    let Arm {
        pattern,
        future,
        guard,
        ..
    } = arm;
    let seen = without_modes(pattern);
    let guard = guard.as_ref().map(|guard| {
        quote! {
            if !(#guard) {
                return ::asupersync::Outcome::Err(());
            }
        }
    });
    quote! {
        ::asupersync::combinator::plain(async {
            #guard
            let __asupersync_output = (#future).await;
            // tidy(allow): whether there is anything to expect depends on the caller's pattern
            #[allow(unreachable_patterns, unused_variables, reason = "a pattern may take everything")]
            let __asupersync_fits = match &__asupersync_output {
                #seen => true,
                _ => false,
            };
            if __asupersync_fits {
                ::asupersync::Outcome::Ok(__asupersync_output)
            } else {
                ::asupersync::Outcome::Err(())
            }
        })
    }
}

/// The pattern without `ref` and `mut`, to look at a borrowed output.
fn without_modes(pattern: &Pat) -> Pat {
    let mut pattern = pattern.clone();
    strip(&mut pattern);
    pattern
}

fn strip(pattern: &mut Pat) {
    match pattern {
        Pat::Ident(ident) => {
            ident.by_ref = None;
            ident.mutability = None;
            if let Some((_, inner)) = &mut ident.subpat {
                strip(inner);
            }
        }
        Pat::Or(or) => or.cases.iter_mut().for_each(strip),
        Pat::Paren(paren) => strip(&mut paren.pat),
        Pat::Slice(slice) => slice.elems.iter_mut().for_each(strip),
        Pat::Struct(fields) => fields
            .fields
            .iter_mut()
            .for_each(|field| strip(&mut field.pat)),
        Pat::Tuple(tuple) => tuple.elems.iter_mut().for_each(strip),
        Pat::TupleStruct(tuple) => tuple.elems.iter_mut().for_each(strip),
        Pat::Type(typed) => strip(&mut typed.pat),
        Pat::Reference(reference) => strip(&mut reference.pat),
        _ => {}
    }
}
