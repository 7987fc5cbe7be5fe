package stackfile

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// literal tells whether an expression is made of literals alone, and says where it is not. Nothing else is evaluated,
// so that no file takes long to read.
func (r *reader) literal(b *block, name string, expr hcl.Expression) bool {
	switch e := expr.(type) {
	case *hclsyntax.LiteralValueExpr:
		return r.constant(b, name, e)
	case *hclsyntax.TemplateExpr:
		for _, part := range e.Parts {
			if _, ok := part.(*hclsyntax.LiteralValueExpr); !ok {
				return r.template(b, name, part)
			}
		}
		return true
	case *hclsyntax.TemplateWrapExpr:
		return r.template(b, name, e)
	case *hclsyntax.TupleConsExpr:
		return !slices.ContainsFunc(e.Exprs, func(element hclsyntax.Expression) bool {
			return !r.literal(b, name, element)
		})
	case *hclsyntax.ObjectConsExpr:
		return !slices.ContainsFunc(e.Items, func(item hclsyntax.ObjectConsItem) bool {
			return !r.key(b, name, item.KeyExpr) || !r.literal(b, name, item.ValueExpr)
		})
	case *hclsyntax.UnaryOpExpr:
		if e.Op == hclsyntax.OpNegate {
			return r.literal(b, name, e.Val)
		}
	case *hclsyntax.ScopeTraversalExpr:
		if word := hcl.ExprAsKeyword(e); word != "" {
			r.faultAt(e.Range(), b, name,
				"%s is the name of a variable, which is not taken here; a text stands in quotes: %q", word, word)
			return false
		}
	}
	r.faultAt(expr.Range(), b, name, "only literals are taken here: no variables, functions or operators")
	return false
}

// key is a word, which hcl reads as a variable too, or a literal.
func (r *reader) key(b *block, name string, expr hcl.Expression) bool {
	e, ok := expr.(*hclsyntax.ObjectConsKeyExpr)
	if !ok {
		return r.literal(b, name, expr)
	}
	return !e.ForceNonLiteral && hcl.ExprAsKeyword(e.Wrapped) != "" || r.literal(b, name, e.Wrapped)
}

func (r *reader) template(b *block, name string, part hcl.Expression) bool {
	r.faultAt(part.Range(), b, name,
		"a text is taken as it stands, without templates; a ${ or %%{ that belongs to it is written $${ or %%%%{")
	return false
}

// constant refuses null, and numbers that as a text would fill the memory: 1e999999999.
func (r *reader) constant(b *block, name string, e *hclsyntax.LiteralValueExpr) bool {
	if e.Val.IsNull() {
		r.faultAt(e.Range(), b, name, "null is no value; leave the attribute out for its default")
		return false
	}
	if e.Val.Type() == cty.Number {
		number := e.Val.AsBigFloat()
		if exponent := number.MantExp(nil); number.IsInf() || exponent < -512 || exponent > 512 {
			r.faultAt(e.Range(), b, name, "the number is beyond anything that makes sense")
			return false
		}
	}
	return true
}
