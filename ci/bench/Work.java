import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;

/** Keeps one CPU busy until it is killed: hashing, sorting with comparators, streams, strings, recursion. */
final class Work {
    private static String label(long number) {
        return number < 10 ? Long.toString(number) : label(number / 10) + '.' + number % 10;
    }

    private static int depth(int levels) {
        return levels == 0 ? 0 : 1 + depth(levels - 1);
    }

    private static long once(Random random) {
        Map<String, Integer> counts = new HashMap<>();
        for (int i = 0; i < 20_000; i++) {
            counts.merge(label(random.nextInt(100_000)), 1, Integer::sum);
        }
        List<Map.Entry<String, Integer>> ranking = new ArrayList<>(counts.entrySet());
        ranking.sort(Comparator.comparing((Map.Entry<String, Integer> entry) -> -entry.getValue())
            .thenComparing(Map.Entry::getKey));
        String joined = ranking.stream().limit(1000).map(Object::toString).collect(Collectors.joining(","));
        return joined.hashCode() + depth(500);
    }

    public static void main(String[] arguments) {
        Random random = new Random(1);
        for (long sum = 0; ; sum += once(random)) {
            if (sum == Long.MIN_VALUE) {
                System.out.println(sum);
            }
        }
    }
}
