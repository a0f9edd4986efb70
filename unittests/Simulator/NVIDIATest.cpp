#include "Harness.h"
void fla::sim::test::testNVIDIA() {}
void fla::sim::test::testAMD() {}
