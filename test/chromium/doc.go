// Package chromium is a browser in which tests look at a page as its readers do. All but this comment is built with the
// tag acceptance.
package chromium
