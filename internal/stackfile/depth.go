package stackfile

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// depthLimit is far more than a file with a meaning needs: it gets by with five.
const depthLimit = 500

// closers maps each closing token to its opening one.
var closers = map[hclsyntax.TokenType]hclsyntax.TokenType{
	hclsyntax.TokenCBrace:         hclsyntax.TokenOBrace,
	hclsyntax.TokenCBrack:         hclsyntax.TokenOBrack,
	hclsyntax.TokenCParen:         hclsyntax.TokenOParen,
	hclsyntax.TokenCQuote:         hclsyntax.TokenOQuote,
	hclsyntax.TokenCHeredoc:       hclsyntax.TokenOHeredoc,
	hclsyntax.TokenTemplateSeqEnd: hclsyntax.TokenTemplateInterp,
}

// tooDeep returns the place where a file nests beyond depthLimit; nil if nowhere. hcl's parser recurses, seven
// kilobytes a level, and an overflow of the Go stack cannot be caught.
func tooDeep(path string, source []byte) *hcl.Range {
	tokens, _ := hclsyntax.LexConfig(source, path, hcl.InitialPos)
	depth, open := 0, map[hclsyntax.TokenType]int{}
	for _, token := range tokens {
		switch of := token.Type; of {
		case hclsyntax.TokenTemplateControl:
			of = hclsyntax.TokenTemplateInterp
			fallthrough
		case hclsyntax.TokenOBrace,
			hclsyntax.TokenOBrack,
			hclsyntax.TokenOParen,
			hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp:
			open[of]++
			depth++
		case hclsyntax.TokenMinus, hclsyntax.TokenBang, hclsyntax.TokenQuestion, hclsyntax.TokenStar:
			depth++ // what follows is inside of it, with no token at its end
		default:
			// What closes nothing of its kind takes nothing back: the parser may stay inside after such a mistake.
			if opener, ok := closers[of]; ok && open[opener] > 0 {
				open[opener]--
				depth--
			}
		}
		if depth > depthLimit {
			return &token.Range
		}
	}
	return nil
}
