// What CloudSim 3.0.3 makes of a day: its PlanetLab example with the data of a matrix file instead
// of a folder whose order the file system chooses. make_cloudsim.sh compiles and runs it.
//
//   Reference MATRIX.csv.gz HOSTS POLICY PARAMETER...
//
// The matrix: a header, then a row a machine, name and 288 integer percents. Prints a line of CSV a
// policy, to stderr, as CloudSim itself writes to stdout.
package org.cloudbus.cloudsim.examples.power;

import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Calendar;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.cloudbus.cloudsim.Cloudlet;
import org.cloudbus.cloudsim.UtilizationModelNull;
import org.cloudbus.cloudsim.UtilizationModelPlanetLabInMemory;
import org.cloudbus.cloudsim.VmAllocationPolicy;
import org.cloudbus.cloudsim.core.CloudSim;
import org.cloudbus.cloudsim.power.PowerDatacenter;

public class Reference extends RunnerAbstract {
  private static String matrix;
  private static int hosts;
  private static String policyName;

  private Reference(String policy, String parameter) {
    super(false, false, "", "", "", policy, "mmt", parameter);
  }

  private static List<Cloudlet> readMachines(int broker) throws Exception {
    List<Cloudlet> machines = new ArrayList<>();
    try (BufferedReader rows = new BufferedReader(
        new InputStreamReader(new GZIPInputStream(new FileInputStream(matrix))))) {
      rows.readLine();
      String row;
      while ((row = rows.readLine()) != null) {
        Path file = Files.createTempFile("machine", "");
        Files.write(file, row.substring(row.indexOf(',') + 1).replace(",", "\n").getBytes());
        Cloudlet machine = new Cloudlet(machines.size(), Constants.CLOUDLET_LENGTH,
            Constants.CLOUDLET_PES, 300, 300,
            new UtilizationModelPlanetLabInMemory(file.toString(), Constants.SCHEDULING_INTERVAL),
            new UtilizationModelNull(), new UtilizationModelNull());
        Files.delete(file);
        machine.setUserId(broker);
        machine.setVmId(machines.size());
        machines.add(machine);
      }
    }
    return machines;
  }

  @Override
  protected void init(String folder) {
    try {
      CloudSim.init(1, Calendar.getInstance(), false);
      broker = Helper.createBroker();
      cloudletList = readMachines(broker.getId());
      vmList = Helper.createVmList(broker.getId(), cloudletList.size());
      hostList = Helper.createHostList(hosts);
    } catch (Exception e) {
      throw new RuntimeException(e);
    }
  }

  @Override
  protected void start(String name, String folder, VmAllocationPolicy policy) {
    try {
      PowerDatacenter centre = (PowerDatacenter) Helper.createDatacenter(
          "Datacenter", PowerDatacenter.class, hostList, policy);
      broker.submitVmList(vmList);
      broker.submitCloudletList(cloudletList);
      CloudSim.terminateSimulation(Constants.SIMULATION_LIMIT);
      CloudSim.startSimulation();
      CloudSim.stopSimulation();
      Map<String, Double> sla = Helper.getSlaMetrics(vmList);
      System.err.printf(Locale.ROOT, "%s,%d,%d,%s,%.6f,%d,%.9f,%.9f,%.9f,%d%n",
          Path.of(matrix).getFileName().toString().replace(".csv.gz", ""), vmList.size(), hosts,
          policyName,
          centre.getPower() / 3.6e6, centre.getMigrationCount(),
          Helper.getSlaTimePerActiveHost(centre.getHostList()),
          sla.get("underallocated_migration"), sla.get("overall"),
          Helper.getTimesBeforeHostShutdown(centre.getHostList()).size());
    } catch (Exception e) {
      throw new RuntimeException(e);
    }
  }

  public static void main(String[] args) {
    matrix = args[0];
    hosts = Integer.parseInt(args[1]);
    for (int i = 2; i + 1 < args.length; i += 2) {
      policyName = args[i];
      new Reference(policyName, args[i + 1]);
    }
  }
}
