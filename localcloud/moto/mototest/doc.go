// Package mototest is a moto with canned answers, for tests. It fails the test on a call that it was not told.
package mototest
